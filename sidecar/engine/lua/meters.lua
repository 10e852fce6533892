-- Windows of our own: calendar periods and sliding rings. What is known when a call starts (requests, prompts) lands
-- at the grant; what is measured (tokens, credits, cost) is reserved while the lease lives, whatever period it is,
-- and lands when it settles. So nothing is counted twice, and nothing is dropped because its window is old.
--
-- 'C' { s, e = bounds of the running period (wall ms), b = name of its boundaries, u, r }
-- 'F' { d = duration, s, e = bounds of the running period (wall ms), u, r }: periods are multiples of the duration
-- Both also have cl, gc, gp, cr, gr: guarantees.lua.
-- 'S' { d = duration, w = bucket width (logical ms), u, r, b = { index, amount, index, amount, … } ascending }

local BOUNDARY_DIGITS = 14

-- The period of the named calendar that holds `wall`; nil when nobody has that calendar any more. Past the last
-- boundary it does not end: configure brings more in time.
local function calendar_period(call, name, wall)
  local text = redis.call('HGET', call.keys.config, 'b:' .. name)
  if not text then return nil end
  local count = #text / BOUNDARY_DIGITS
  local function at(index)
    return tonumber(string.sub(text, (index - 1) * BOUNDARY_DIGITS + 1, index * BOUNDARY_DIGITS))
  end
  local low, high = 0, count -- boundary `low` is not after wall; all above `high` are
  while low < high do
    local middle = math.ceil((low + high) / 2)
    if at(middle) <= wall then low = middle else high = middle - 1 end
  end
  local starts = low > 0 and at(low) or 0
  local ends = low < count and at(low + 1) or MAX_AMOUNT
  return starts, ends
end

local function begin_period(window, starts)
  window.u, window.s = 0, starts
  window.cl, window.gc = window.cr, window.gr
end

local function roll_calendar(call, window)
  local wall = call.meta.wall_ms
  local endless = window.e == MAX_AMOUNT -- past the last boundary; there may be more by now
  if wall < window.e and not endless then return end
  local starts, ends = calendar_period(call, window.b, wall)
  if not starts then
    if not endless then begin_period(window, window.e) end
    return
  end
  -- A clock that was set back does not open an old period again.
  if starts > window.s then begin_period(window, starts) end
  if ends > window.s then window.e = ends end
end

local function roll_fixed(call, window)
  local wall = call.meta.wall_ms
  if wall < window.e then return end
  local starts = wall - wall % window.d
  begin_period(window, starts)
  window.e = starts + window.d
end

-- A bucket leaves when everything in it is older than the duration: never early, at most one bucket late.
local function roll_sliding(window, now)
  local buckets = window.b
  local gone = 0
  while buckets[gone + 1] and (buckets[gone + 1] + 1) * window.w <= now - window.d do
    window.u = window.u - buckets[gone + 2]
    gone = gone + 2
  end
  if gone == 0 then return end
  local kept = {}
  for index = gone + 1, #buckets do kept[#kept + 1] = buckets[index] end
  window.b = kept
end

local function place_of(window, now)
  if window.t ~= 'S' then return window.s end
  return math.floor(now / window.w)
end

local function land(window, amount, now)
  amount = math.min(amount, MAX_AMOUNT - window.u)
  window.u = window.u + amount
  if window.t ~= 'S' or amount == 0 then return end
  local buckets, bucket = window.b, place_of(window, now)
  if buckets[#buckets - 1] == bucket then
    buckets[#buckets] = buckets[#buckets] + amount
  else
    buckets[#buckets + 1] = bucket
    buckets[#buckets + 1] = amount
  end
end

-- Takes back what landed at `place`, as far as it still counts.
local function lift(window, amount, place)
  if window.t ~= 'S' then
    if window.s == place then window.u = math.max(0, window.u - amount) end
    return
  end
  for index = 1, #window.b, 2 do
    if window.b[index] == place then
      local lifted = math.min(amount, window.b[index + 1])
      window.b[index + 1] = window.b[index + 1] - lifted
      window.u = window.u - lifted
    end
  end
end

local function correct(window, difference, place, now)
  if difference > 0 then land(window, difference, now) else lift(window, -difference, place) end
end

-- charge { R, k = place at grant, b = place of expiry, a = 1: landed at the grant }
local function take_metered(window, charge, now)
  if charge.a == 1 then land(window, charge.R, now) else window.r = window.r + charge.R end
  return place_of(window, now)
end

local function settle_metered(window, charge, ending, now)
  if charge.a == 1 then
    correct(window, ending.amount - charge.R, charge.k, now)
    return
  end
  window.r = window.r - charge.R
  land(window, ending.amount, now)
end

local function settle_late_metered(window, charge, ending, now)
  correct(window, ending.amount - charge.R, charge.a == 1 and charge.k or charge.b, now)
end

local function sliding_retry(window, excess)
  for index = 1, #window.b, 2 do
    excess = excess - window.b[index + 1]
    if excess <= 0 then return (window.b[index] + 1) * window.w + window.d end
  end
  return nil -- held by live leases
end

local function check_metered(call, window, amount, limit, kept_free)
  local kept = kept_free and kept_free(window) or 0
  local excess = amount - (limit - window.u - window.r - kept)
  if excess <= 0 then return nil end
  local failing = { used = saturate(window.u + window.r + kept), used_up = amount > limit - window.u }
  if window.t == 'S' then
    local retry = sliding_retry(window, excess)
    failing.retry = retry and retry + call.meta.wall_ms - call.meta.now_ms
  elseif window.e < MAX_AMOUNT and amount <= limit - window.r then
    failing.retry = window.e
  end
  return failing
end
