-- Serving the waiting room: who is next, what is granted, what is denied, and who hears of it (rules Q2 to Q6).

-- Told at once to whoever listens, and by the next beat to who did not hear it.
local function push(call, owner, id, reply)
  local parts = { id }
  for index, item in ipairs(reply) do parts[index + 1] = type(item) == 'number' and int(item) or item end
  redis.call('SPUBLISH', string.sub(call.keys.meta, 1, -2) .. 'p:' .. owner, table.concat(parts, '\n'))
end

local function lease_for(call, id, path, request, how)
  local meta = call.meta
  meta.fence = meta.fence + 1
  meta.last_system = request.class == 1 and 1 or 0
  local lease = { o = request.owner, f = meta.fence, s = meta.fence, g = meta.now_ms, w = meta.wall_ms,
    m = request.longest, q = 0, v = 1, x = 0, c = request.class, d = how.dispatched and 1 or 0, h = 0,
    p = request.seq or 0, n = take_path(call, path, request, how) }
  add_lease(call, id, lease)
  redis.call('ZADD', call.keys.expiries, int(meta.now_ms + (how.dispatched and CLAIM_TTL_MS or TTL_MS)), id)
  note_owner(call, request.owner, 1)
  return lease
end

-- The largest part of each limit that is used now, for limits past their node's lowest threshold.
local function warnings_of(call, path)
  local warnings = {}
  for _, step in ipairs(path) do
    local lowest = step[2][NODE_THRESHOLDS][1]
    for _, limit in ipairs(lowest and step[2][NODE_LIMITS] or {}) do
      local used, amount = total_of(window_for(call, node_of(call, step[1]), limit)), limit[LIMIT_AMOUNT]
      local percent = amount > 0 and math.min(1000000, math.floor(100 * used / amount)) or 0
      if percent >= lowest and #warnings < 24 then
        warnings[#warnings + 1], warnings[#warnings + 2], warnings[#warnings + 3] = step[1], limit[LIMIT_NAME], percent
      end
    end
  end
  return warnings
end

local function grant_reply(call, lease, warnings)
  local reply = { 'granted', lease.f, call.meta.epoch, lease.g, call.meta.now_ms,
    lease.d == 1 and CLAIM_TTL_MS or TTL_MS }
  for _, item in ipairs(warnings or {}) do reply[#reply + 1] = item end
  return reply
end

local function grant_waiter(call, id, waiter, path)
  local flow_name = queue.sub_of(call, waiter.sub).flow
  queue.leave(call, id, waiter)
  local lease = lease_for(call, id, path, waiter, { dispatched = true, id = id })
  local flow = queue.flow_of(call, flow_name)
  queue.account_grant(call, path, waiter, flow_name, flow)
  flow.round = math.max(flow.round, waiter.round)
  local reply = grant_reply(call, lease, warnings_of(call, path))
  call.outcomes[id] = reply
  push(call, waiter.owner, id, reply)
end

-- Not to be had any more: kept for a while, in case nobody hears of it.
local function deny_waiter(call, id, waiter, failing)
  queue.leave(call, id, waiter)
  local reply = denial_of(call, failing)
  call.outcomes[id] = reply
  redis.call('HSET', call.keys.waiters, 'N:' .. id, pack({ waiter.owner, reply }))
  redis.call('ZADD', call.keys.patience, int(call.meta.now_ms + NOTICE_MS), 'N:' .. id)
  push(call, waiter.owner, id, reply)
end

local function waiting_failing(call)
  local failing = failing_at('account', 'Waiting', 'queue', call.meta.waiting, 0)
  failing.unit = false
  return failing
end

local function gone_failing(leaf)
  local failing = failing_at(leaf, 'Gone', '', 0, 0)
  failing.never = true
  return failing
end

-- What the waiters' keys hold beside waiters: a denial (N:), a place (P:) or a turn (T:), each to be forgotten in time.
local function is_waiter(field)
  return not string.find(field, '^[NPT]:')
end

-- Its time is over, or its owner is silent; after a gap nobody can tell who is (rule T3).
local function end_waiter(call, id)
  local meta, keys = call.meta, call.keys
  local waiter = decode_waiter(redis.call('HGET', keys.waiters, id))
  if waiter.deadline <= meta.now_ms then
    local path = resolve_path(call, waiter)
    waiter.head_of = waiter.sub
    local failing = path and best_of(check_path(call, path, waiter)) or not path and gone_failing(waiter.leaf)
    deny_waiter(call, id, waiter, failing or waiting_failing(call))
  elseif meta.now_ms < meta.no_reap_until then
    call.changed = true
    redis.call('ZADD', keys.patience, int(math.min(waiter.deadline, meta.no_reap_until)), id)
  else
    queue.leave(call, id, waiter)
  end
end

-- What was kept long enough, then waiters whose time is over or whose owner is silent: a denial of now may replace an older
-- one. What is left of them is next at once.
local function reap_waiters(call)
  local patience = call.keys.patience
  local waiters, kept = WAITER_REAP_BUDGET, KEPT_REAP_BUDGET
  repeat
    local due = redis.call('ZRANGEBYSCORE', patience, '-inf', int(call.meta.now_ms), 'LIMIT', 0, waiters + 1)
    for _, id in ipairs(due) do
      if not is_waiter(id) and kept > 0 then
        redis.call('ZREM', patience, id)
        redis.call('HDEL', call.keys.waiters, id)
        kept = kept - 1
      end
    end
    for _, id in ipairs(due) do
      if is_waiter(id) then
        if waiters == 0 then
          call.more = true
          return
        end
        end_waiter(call, id)
        waiters = waiters - 1
      end
    end
    call.more = kept == 0
  until #due == 0 or kept == 0
end

local function fire_timers(call)
  local due = redis.call('ZRANGEBYSCORE', call.keys.timers, '-inf', int(call.meta.now_ms), 'LIMIT', 0, DISPATCH_BUDGET)
  for _, x in ipairs(due) do
    call.changed = true
    redis.call('ZREM', call.keys.timers, x)
    queue.wake(call, x, true)
  end
end

-- Moves the next sub-queue of every woken bottleneck that has none on its way.
local function feed(call)
  local index = 1
  while call.wakes[index] do
    local wake = call.wakes[index]
    if wake.sub then
      index = index + 1
    else
      local sub = queue.next_at(call, wake)
      if sub then
        local record = queue.sub_of(call, sub)
        local flow = queue.flow_of(call, record.flow)
        wake.tag, wake.birth, wake.round, wake.seq = flow.locals[wake.x], flow.birth, record.round, record.seq
        wake.sub = sub
        queue.make_runnable(call, sub, record)
        index = index + 1
      else
        table.remove(call.wakes, index)
      end
    end
  end
end

local function wake_of(call, sub)
  for index, wake in ipairs(call.wakes) do
    if wake.sub == sub then return wake, index end
  end
  return nil
end

-- Whoever is next by tag; nil: nobody may be dispatched.
local function pick(call)
  local member = redis.call('ZRANGE', call.keys.runnable, 0, 0)[1]
  if not member then return nil end
  local flow = string.sub(member, 17)
  local head = lex_range(call.keys.heads, flow, 'LIMIT', 0, 1)[1]
  local sub = string.sub(head, #flow + 36)
  local _, _, id = queue.head_of(call, sub)
  local waiter = decode_waiter(redis.call('HGET', call.keys.waiters, id))
  waiter.head_of = sub
  return id, waiter, sub
end

-- After a grant the rest of a woken sub-queue stands in line at its bottleneck again, if the grant went through it.
local function after_grant(call, sub, path, class)
  local wake = wake_of(call, sub)
  if not wake then return end
  wake.sub = nil
  local record, charged = queue.sub_of(call, sub), false
  each_bottleneck(path, class, function(x) charged = charged or x == wake.x end)
  if record and charged then queue.park(call, sub, record, wake.x) end
end

-- Failings that hold for all that is parked there alike: nobody else need be looked at. (A stop may except a class.)
local ENDS_WAKE = { Concurrency = true, Rate = true, Frozen = true, Breaker = true, Learning = true }

local function after_denial(call, sub)
  local wake = wake_of(call, sub)
  if wake and not queue.sub_of(call, sub) then wake.sub = nil end
end

local function park_failing(call, sub, failing)
  local wake, index = wake_of(call, sub)
  queue.park(call, sub, queue.sub_of(call, sub), failing.x)
  local retry = failing.retry and failing.retry - call.meta.wall_ms + call.meta.now_ms
  queue.set_timer(call, failing.x, failing.timer or retry)
  if not wake then return end
  wake.sub = nil
  if wake.x == failing.x and ENDS_WAKE[failing.reason] then table.remove(call.wakes, index) end
end

-- When the account itself may serve anybody again.
local function root_timer(call, found)
  local least
  for _, failing in ipairs(found) do
    if failing.node == 'account' and failing.unit and failing.all then
      local retry = failing.retry and failing.retry - call.meta.wall_ms + call.meta.now_ms
      local at = failing.timer or retry
      if at and (not least or at < least) then least = at end
    end
  end
  return least
end

-- One look at whoever is next. False: nobody can be served any more.
local function step(call)
  local id, waiter, sub = pick(call)
  if not id then return false end
  local path = resolve_path(call, waiter)
  local found = path and check_path(call, path, waiter) or { gone_failing(waiter.leaf) }
  if #found == 0 then
    grant_waiter(call, id, waiter, path)
    after_grant(call, sub, path, waiter.class)
    return true
  end
  local refused, failing, root = refuse_or_wait(call, found, waiter.mode, waiter.deadline)
  if refused then
    deny_waiter(call, id, waiter, refused)
    after_denial(call, sub)
  elseif root then
    queue.set_timer(call, 'account', root_timer(call, found))
    call.root_stopped = true
    return false
  else
    park_failing(call, sub, failing)
  end
  return true
end

-- Who cannot be served yet waits where it was, so that each bottleneck lets out one by one, in its own order.
local function return_moved(call)
  for _, wake in ipairs(call.wakes) do
    local record = wake.sub and queue.sub_of(call, wake.sub)
    if record then queue.park(call, wake.sub, record, wake.x, true) end
  end
end

-- Serves who waits: at the end of every call that writes.
local function dispatch(call)
  if call.meta.waiting == 0 then return end
  fire_timers(call)
  local steps = 0
  local going = true
  while going and steps < DISPATCH_BUDGET do
    feed(call)
    going = step(call)
    if going then steps = steps + 1 end
  end
  if call.meta.waiting == 0 then return end
  if call.root_stopped then return_moved(call) end
  local left = false
  if not call.root_stopped and going then
    feed(call)
    left = #call.wakes > 0 or redis.call('ZCARD', call.keys.runnable) > 0
  end
  call.more = call.more or left
  for _, wake in ipairs(call.wakes) do
    redis.call('ZADD', call.keys.timers, int(call.meta.now_ms), wake.x)
    if left then
      queue.copy_cursor(wake, queue.bottleneck_of(call, wake.x))
    end
  end
end

-- What every writing call does first and last.
local function begin(call)
  call.outcomes, call.was_waiting = {}, call.meta.waiting
  queue.prepare(call)
  release_holds(call)
end

local function conclude(call)
  if not call.reaped then reap(call) end
  -- What checks of those who wait bring up to the clock must not be written with what this call did.
  if call.meta.waiting > 0 then save_nodes(call) end
  reap_waiters(call)
  dispatch(call)
  prune(call)
  queue.save(call)
  save(call)
end
