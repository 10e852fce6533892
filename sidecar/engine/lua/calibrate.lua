-- Calibration: an account's window against the vendor's own counter (rule N5). Called by govern.
--
-- The vendor's display lags, so it may raise our count at once and lower it only when it says that a new window began,
-- twice. What it said last is kept in the meta record's field `v:<limit>`: reset, poll.

local SAME_RESET_MS = 60000

local function raise(period, used)
  period.u = saturate(math.max(period.u, used))
end

local function fix_start(call, period, start)
  -- Those that may have opened it are counted until they end.
  if not period.hi then period.hf = call.meta.fence end
  period.lo, period.hi, period.sl = start, start, start
end

-- The second of two polls that agree on a later reset: everything settled so far was of the window before.
local function begin_anew(call, window, start, used)
  local before = window.n or window.c
  local period = new_period(window, call.meta.wall_ms, start, start)
  period.u, period.k, period.hf = used, (before and before.v or 0) + 1, 0
  if before then period.r, period.v, period.gc = before.r, before.v, window.gr end
  period.lo, period.hi, period.sl = start, start, start
  window.c, window.n = period, false
  window.f, window.e = math.min(window.f, start), math.min(window.e, start)
end

local function agrees_with_last(call, limit, resets, poll_start)
  local field = 'v:' .. limit[LIMIT_NAME]
  local text = redis.call('HGET', call.keys.meta, field)
  redis.call('HSET', call.keys.meta, field, struct.pack('<dd', resets, poll_start))
  if not text then return false end
  local last_resets, last_poll = struct.unpack('<dd', text)
  return math.abs(last_resets - resets) <= SAME_RESET_MS and poll_start > last_poll, last_poll
end

local function thaw(call, first_poll)
  local a = node_of(call, 'account').a
  if not a or not a.fz or first_poll < a.fs then return end
  touch(call, 'account').a.fz = 0
end

-- { 'applied' | 'kept', used before, used after }
local function calibrate_window(call, limit, used, resets, poll_start)
  local window = window_for(call, touch(call, 'account'), limit)
  local current, wall = window.c, call.meta.wall_ms
  local before = total_of(window)
  local function reply(kind) return { kind, int(before), int(total_of(window)) } end
  -- Already reset, or not open: the vendor will count from its next call on, and so do we once ours has ended.
  if resets <= wall then
    agrees_with_last(call, limit, resets, poll_start)
    return reply('kept')
  end
  local start = resets - window.d
  if not current then
    open_at(call, window, start, used)
    agrees_with_last(call, limit, resets, poll_start)
    return reply('applied')
  end
  if window.n and start >= window.n.lo - SAME_RESET_MS then
    -- The one we held to be possible began: the other is over.
    close_current(window, start)
    if window.c then
      fix_start(call, window.c, start)
      raise(window.c, used)
    end
    agrees_with_last(call, limit, resets, poll_start)
    return reply('applied')
  end
  local latest = period_end(current, window.d) or current.lo + window.d
  if resets <= latest + SAME_RESET_MS then
    if resets >= current.lo + window.d - SAME_RESET_MS then fix_start(call, current, start) end
    raise(current, used)
    agrees_with_last(call, limit, resets, poll_start)
    return reply('applied')
  end
  local agreed, first_poll = agrees_with_last(call, limit, resets, poll_start)
  if not agreed then return reply('kept') end
  begin_anew(call, window, start, used)
  thaw(call, first_poll)
  return reply('applied')
end
