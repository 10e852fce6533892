-- Guarantees (rule N3): what a child was promised of its ancestor's limit of the same name, and has not used, is kept
-- free of its siblings. The ancestor's window counts what its children have claimed of their promises, so that a check
-- needs no child but the caller's own:
--   cl (of a period or metered window) = sum over children of min(promised, used + reserved); cr = the same of reserved
--   alone, which runs on into the next period. gc, gr = what this child has claimed of its guarantor, there and here.
--   gp (metered windows) = the period of its guarantor that gc was claimed in: after a step of the clock the two may
--   stand in different periods, and then only what is reserved counts.

local function claim_of(promised, amount)
  return math.min(promised, amount)
end

local function each_share(window, visit)
  if is_period(window) then each_period(window, visit) else visit(window) end
end

local NO_SHARE = { u = 0, r = 0 }

-- What a child's window holds during `share` of its guarantor's.
local function share_at(window, share)
  if is_period(window) then return period_of_serial(window, share.s) or NO_SHARE end
  return window.s == share.s and window or { u = 0, r = window.r }
end

local function claim_periods(window, guarantor, promised)
  each_period(window, function(share)
    local claimed = claim_of(promised, share.u + share.r)
    local at = guarantor and period_of_serial(guarantor, share.s)
    if at then at.cl = at.cl + claimed - share.gc end
    share.gc = claimed
  end)
end

local function claim_metered(window, guarantor, promised, reserved_before)
  if not guarantor then return end
  local share = share_at(window, guarantor)
  local claimed = claim_of(promised, share.u + share.r)
  local before = window.gp == guarantor.s and window.gc or reserved_before
  guarantor.cl = guarantor.cl + claimed - before
  window.gc, window.gp = claimed, guarantor.s
end

-- The window that keeps free what a limit was promised, brought up to the clock.
local function guarantor_of(call, limit)
  local name, config = limit[LIMIT_GUARANTOR], config_of(call, limit[LIMIT_GUARANTOR])
  for _, above in ipairs(config and config[NODE_LIMITS] or {}) do
    if above[LIMIT_KEY] == limit[LIMIT_GUARANTOR_KEY] then return window_for(call, touch(call, name), above) end
  end
  return nil
end

-- Tells the guarantors of a node what its windows claim now. Called after every change of a node's windows.
local function sync_guarantees(call, name)
  local config = config_of(call, name)
  if not config or not config[NODE_GUARANTEED] then return end
  local record = node_of(call, name)
  for _, limit in ipairs(config[NODE_LIMITS]) do
    local promised, window = limit[LIMIT_GUARANTEED], record.w[limit[LIMIT_KEY]]
    if promised >= 0 and window then
      local guarantor = guarantor_of(call, limit)
      local newest = is_period(window) and (window.n or window.c) or window
      local reserved, before = claim_of(promised, newest and newest.r or 0), window.gr
      if guarantor then guarantor.cr = guarantor.cr + reserved - before end
      window.gr = reserved
      if is_period(window) then
        claim_periods(window, guarantor, promised)
      else
        claim_metered(window, guarantor, promised, before)
      end
    end
  end
end

-- What must stay free at `limit` of a node for others than the caller, whose own share of it is `own` on its path.
local function kept_free_of(call, limit, own)
  local promised = limit[LIMIT_PROMISED]
  if promised == 0 then return nil end
  local window = own and own.record.w[own.limit[LIMIT_KEY]]
  if window then roll(call, window) end
  return function(share)
    local mine = 0
    if own then
      local at = window and share and share_at(window, share) or NO_SHARE
      mine = math.max(0, own.limit[LIMIT_GUARANTEED] - at.u - at.r)
    end
    return math.max(0, promised - (share and share.cl or 0) - mine)
  end
end
