-- Charges: what one lease takes on one node, over all kinds of limits. Also the rate (GCRA, microseconds).
--
-- Config of a limit: { name, resource index, amount, kind, key, duration or calendar, owner node, owner's key,
-- guaranteed (-1 = none), the ancestor and its window's key it is guaranteed by, sum guaranteed to its own children }.
-- Resource indexes 1 and 2 (requests, prompts) are known at the grant; the others are measured.

-- Charge { n = window's key, R = reserve, k = place at the grant, b = newest place when it expired, m = the limit's amount
--   at the grant, q = resource index, a = 1: known at the grant }; places are serials (anchored.lua) or as in meters.lua.

local LIMIT_NAME, LIMIT_RESOURCE, LIMIT_AMOUNT, LIMIT_KIND, LIMIT_KEY, LIMIT_SPAN, LIMIT_OWNER, LIMIT_OWNER_KEY =
  1, 2, 3, 4, 5, 6, 7, 8
local LIMIT_GUARANTEED, LIMIT_GUARANTOR, LIMIT_GUARANTOR_KEY, LIMIT_PROMISED = 9, 10, 11, 12

local function new_window(limit)
  local kind, span = limit[LIMIT_KIND], limit[LIMIT_SPAN]
  if kind == 'A' then return { t = 'A', d = span, s = 0, f = 0, e = 0, c = false, n = false, cr = 0, gr = 0 } end
  if kind == 'P' then
    return { t = 'P', o = limit[LIMIT_OWNER], k = limit[LIMIT_OWNER_KEY], c = false, n = false, cr = 0, gr = 0 }
  end
  if kind == 'C' then return { t = 'C', s = 0, e = 0, u = 0, r = 0, b = span, cl = 0, gc = 0, gp = -1, cr = 0, gr = 0 } end
  if kind == 'F' then return { t = 'F', s = 0, e = 0, u = 0, r = 0, d = span, cl = 0, gc = 0, gp = -1, cr = 0, gr = 0 } end
  return { t = 'S', d = span, w = math.ceil(span / RING_BUCKETS), u = 0, r = 0, b = {} }
end

-- Brings a window up to the clock; returns it and the window whose periods it follows.
local function roll(call, window)
  if window.t == 'A' then
    roll_anchored(window, call.meta.wall_ms)
  elseif window.t == 'P' then
    local owner = node_of(call, window.o).w[window.k]
    if owner then roll_anchored(owner, call.meta.wall_ms) end
    follow_owner(window, owner)
    return window, owner
  elseif window.t == 'C' then
    roll_calendar(call, window)
  elseif window.t == 'F' then
    roll_fixed(call, window)
  else
    roll_sliding(window, call.meta.now_ms)
  end
  return window, window
end

local function window_for(call, record, limit)
  local key = limit[LIMIT_KEY]
  if not record.w[key] then record.w[key] = new_window(limit) end
  return roll(call, record.w[key])
end

local function is_period(window)
  return window.t == 'A' or window.t == 'P'
end

local function total_of(window)
  if not is_period(window) then return window.u + window.r end
  local total = 0
  each_period(window, function(period) total = math.max(total, period.u + period.r) end)
  return total
end

-- Nil: there is room. Else { used, retry = wall ms or nil, used_up }.
local function check_limit(call, record, limit, amount, kept_free)
  local window, timeline = window_for(call, record, limit)
  if is_period(window) then
    return check_anchored(window, timeline or window, amount, limit[LIMIT_AMOUNT], call.meta.wall_ms, kept_free)
  end
  return check_metered(call, window, amount, limit[LIMIT_AMOUNT], kept_free)
end

-- Takes without asking; the caller has checked, or knows better (registration).
local function take_limit(call, record, limit, amount)
  local window = window_for(call, record, limit)
  window.m = limit[LIMIT_AMOUNT]
  local charge = { n = limit[LIMIT_KEY], R = amount, m = limit[LIMIT_AMOUNT], q = limit[LIMIT_RESOURCE],
    a = limit[LIMIT_RESOURCE] <= 2 and 1 or 0 }
  if is_period(window) then
    charge.R = math.min(amount, MAX_AMOUNT - (window.c and window.c.r or 0))
    charge.k = take_anchored(window, charge.R, call.meta.wall_ms)
  else
    charge.R = math.min(amount, MAX_AMOUNT - window.r)
    charge.k = take_metered(window, charge, call.meta.now_ms)
  end
  return charge
end

-- Replaces a live charge by `ending.amount`. True: the limit is exceeded because the call used more than its reserve.
local function settle_charge(call, record, charge, ending)
  local window = record.w[charge.n]
  if not window then return false end
  roll(call, window)
  ending.amount = ending.refund and 0 or ending.actual[charge.q]
  if is_period(window) then
    settle_anchored(window, charge, ending)
    charge.b = newest_serial(window)
    local newest = window.n or window.c
    return newest and ending.amount > charge.R and newest.u + newest.r > charge.m
  end
  settle_metered(window, charge, ending, call.meta.now_ms)
  charge.b = place_of(window, call.meta.now_ms)
  return ending.amount > charge.R and window.u + window.r > charge.m
end

-- The same for a charge whose reserve has landed already, because its lease expired.
local function settle_charge_late(call, record, charge, ending)
  local window = record.w[charge.n]
  if not window then return end
  roll(call, window)
  ending.amount = ending.refund and 0 or ending.actual[charge.q]
  if is_period(window) then
    settle_late_anchored(window, charge, ending)
  else
    settle_late_metered(window, charge, ending, call.meta.now_ms)
  end
end

local function check_rate(record, interval, burst, now_us)
  local opens = (record.tat or 0) - (burst - 1) * interval
  if now_us >= opens then return nil end
  return opens
end

local function take_rate(record, interval, now_us)
  record.tat = math.max(record.tat or 0, now_us) + interval
  record.rt, record.rl, record.rn = interval, now_us, (record.rn or 0) + 1
  return record.rn
end

-- Gives one token back. Later grants stand at least one interval apart from their own time, so the arrival time may
-- not fall below that: a plain `TAT - T` would hand out a token that time had returned already.
local function refund_rate(record, number)
  if not record.tat or number == 0 then return end
  local later = record.rn - number
  local floor = later > 0 and record.rl + later * record.rt or 0
  record.tat = math.min(record.tat, math.max(record.tat - record.rt, floor))
end
