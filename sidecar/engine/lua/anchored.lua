-- Anchored windows: they open with the first accepted call, as the vendor's do, and what we know of that moment is an
-- interval (rule N1). A window holds up to two periods, the current one `c` and, once the current one may have ended,
-- the next one `n`; everything granted or running from then on is charged to both until the current one surely ended.
--
-- Window { t = 'A', d = duration ms, s = last serial, f, e = earliest and latest end of the last closed period, c, n }.
-- Times are wall ms. Period:
--   s   serial                              u, r  used, reserved by live leases
--   k   charges (live and settled)          v, p  live leases; those of them that may have opened the period
--   lo  earliest possible start             hi    latest possible start, false while no sure opener has settled
--   hf  fence when hi became known          sf    latest possible start if an unsure call was the opener
--   sl  earliest send among settled calls   fl    no start before this
--   su  a call sent from here on is not the previous period's; false while the previous period may still run
--
-- cl, gc and the window's cr, gr belong to guarantees (guarantees.lua).
--
-- A child's limit of the same name ('P': { o = owner node, k = its key, c, n } with periods { s, u, r }) counts its
-- own share in the periods of the nearest owner (rule N3); every lease that charges it charges the owner as well.

local function new_period(window, wall, floor, sure)
  window.s = math.max(window.s + 1, wall)
  return { s = window.s, u = 0, r = 0, k = 0, v = 0, p = 0, lo = false, hi = false, hf = 0, sf = false, sl = false,
    su = sure, fl = floor, cl = window.cr, gc = window.gr }
end

-- When the period has ended for sure; nil while that cannot be told.
local function period_end(period, duration)
  if period.hi then return period.hi + duration + GUARD_MS end
  if period.p == 0 and period.sf then return period.sf + duration + GUARD_MS end
  return nil
end

-- Opens a window whose start is known; `latest`: by that time at least, -1: that is not known.
local function open_at(call, window, start, used, latest)
  local period = new_period(window, call.meta.wall_ms, math.min(window.f, start), math.min(window.e, start))
  period.u, period.k, period.lo, period.hi, period.sl, period.hf = used, 1, start, latest or start, start, call.meta.fence
  if latest == -1 then period.hi, period.sf = false, call.meta.wall_ms end
  window.c = period
end

-- Live leases run on into the next period.
local function begin_next(window, wall)
  local current = window.c
  local floor = current.lo + window.d
  local period = new_period(window, wall, floor, false)
  period.r, period.k, period.v, period.p = current.r, current.v, current.v, current.v
  if current.v > 0 then period.lo = floor end
  window.n = period
end

local function close_current(window, ended)
  local current, following = window.c, window.n
  window.c, window.n = false, false
  if ended then window.f, window.e = math.max(window.f, current.lo + window.d), math.max(window.e, ended) end
  if following and following.k > 0 then
    if ended then following.su = ended end
    window.c = following
  end
end

local function roll_anchored(window, wall)
  while window.c do
    local current = window.c
    local ended = period_end(current, window.d)
    local over = ended and wall >= ended
    -- After a step of the clock a period may be over before its own start says so: what runs on goes along all the same.
    if current.k > 0 and not window.n and (over or wall >= current.lo + window.d) then begin_next(window, wall) end
    if current.k == 0 then
      close_current(window, nil) -- every call that could have opened it was refunded
    elseif over then
      close_current(window, ended)
    else
      return
    end
  end
end

local function period_of_serial(window, serial)
  if window.c and window.c.s == serial then return window.c end
  if window.n and window.n.s == serial then return window.n end
  return nil
end

-- Brings a child's periods in line with the owner's. Its newest period holds all its live leases: they run on.
local function follow_owner(window, owner)
  local newest = window.n or window.c
  local carried = newest and newest.r or 0
  local function own(period)
    if not period then return false end
    return period_of_serial(window, period.s)
      or { s = period.s, u = 0, r = carried, cl = window.cr, gc = window.gr }
  end
  window.c, window.n = own(owner and owner.c), own(owner and owner.n)
end

-- The window's start may be this call's: sent at `sent`, first byte at `first` if it was accepted.
local function note_opener(period, ending, may_open)
  local sent = math.max(ending.sent, period.fl)
  if may_open then period.sl = math.min(period.sl or sent, sent) end
  if ending.accepted and period.su and ending.sent >= period.su then
    if not period.hi then period.hf = ending.fence_now end
    period.hi = math.min(period.hi or ending.first, ending.first)
  else
    period.sf = math.max(period.sf or 0, ending.wall)
  end
end

local function settle_start(period)
  if period.p == 0 and period.sl then period.lo = math.max(period.fl, period.sl) end
end

local function each_period(window, visit)
  if window.c then visit(window.c) end
  if window.n then visit(window.n) end
end

local function take_anchored(window, amount, wall)
  if window.t == 'A' and not window.c then window.c = new_period(window, wall, window.f, window.e) end
  each_period(window, function(period)
    period.r = period.r + amount
    if window.t ~= 'A' then return end
    period.v, period.k = period.v + 1, period.k + 1
    if period.hi then return end
    period.p = period.p + 1
    local start = math.max(wall, period.fl)
    period.lo = math.min(period.lo or start, start)
  end)
  return window.c.s
end

-- Ends a live charge { R = reserve, k = serial at grant }: in time, or by expiry.
local function settle_anchored(window, charge, ending)
  each_period(window, function(period)
    if period.s < charge.k then return end
    period.r = period.r - charge.R
    if not ending.refund then period.u = saturate(period.u + ending.amount) end
    if window.t ~= 'A' then return end
    period.v = period.v - 1
    local may_open = not period.hi or ending.order <= period.hf
    if may_open then period.p = period.p - 1 end
    if ending.refund then
      period.k = period.k - 1
    else
      note_opener(period, ending, may_open)
    end
    settle_start(period)
  end)
end

local function newest_serial(window)
  local newest = window.n or window.c
  return newest and newest.s or 0
end

local function open_late(window, ending)
  local period = new_period(window, ending.wall, window.f, window.e)
  period.u, period.k, period.sf = ending.amount, 1, ending.wall
  period.sl = math.max(ending.sent, period.fl)
  period.lo = period.sl
  window.c = period
end

-- Corrects a charge whose reserve was landed by expiry in the serials k..b. A period that began since may have seen
-- the call run as well and is charged in full: nothing is dropped because its window is old (rules N1, T4).
local function settle_late_anchored(window, charge, ending)
  local anchored = window.t == 'A'
  if anchored and not window.c and not ending.refund then return open_late(window, ending) end
  each_period(window, function(period)
    if period.s >= charge.k and period.s <= charge.b then
      period.u = saturate(period.u + ending.amount - charge.R)
      if not anchored then return end
      if ending.refund then period.k = period.k - 1 else note_opener(period, ending, false) end
    elseif period.s > charge.b and not ending.refund then
      period.u = saturate(period.u + ending.amount)
      if not anchored then return end
      period.k = period.k + 1
      note_opener(period, ending, true)
      period.lo = math.min(period.lo or period.sl, period.sl)
      settle_start(period)
    end
  end)
end

-- The first period without room for `amount`: its total and when it may have some (nil: cannot be told). `kept_free(period)`:
-- what is guaranteed to others there. used_up: settled use alone leaves no room.
local function check_anchored(window, timeline, amount, limit, wall, kept_free)
  local failing, used_up
  local function visit(period)
    local free = limit - period.u - period.r
    local kept = kept_free and kept_free(period) or 0
    if amount <= free - kept then return end
    if amount > limit - period.u then used_up = true end
    local of_owner = period_of_serial(timeline, period.s)
    local retry = of_owner and period_end(of_owner, timeline.d)
    if of_owner and not retry and of_owner.lo then
      local earliest = of_owner.lo + timeline.d + GUARD_MS
      if earliest > wall then retry = earliest end
    end
    if not failing or (retry or 0) > (failing.retry or 0) then
      failing = { used = saturate(period.u + period.r + kept), retry = retry }
    end
  end
  each_period(window, visit)
  if not window.c then
    local kept = kept_free and kept_free(nil) or 0
    if amount > limit - kept then return { used = saturate(kept) } end
  end
  if failing then failing.used_up = used_up end
  return failing
end
