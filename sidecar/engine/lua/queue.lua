-- The waiting room: where flows and their sub-queues stand, where they are parked and who wakes them (rules Q1, Q2, Q6).
-- Their records are in flows.lua.

function queue.next_seq(call)
  call.meta.seq = call.meta.seq + 1
  return call.meta.seq
end

-- What one grant costs a flow: the less, the greater its weight.
function queue.cost_of(call, flow)
  local config = node_configs(call, { flow.leaf })[1]
  local weight = CLASS_WEIGHTS[flow.class]
  for _, name in ipairs(config and config[NODE_PATH] or {}) do
    local above = node_configs(call, { name })[1]
    weight = math.min(MAX_WEIGHT, weight * (above and above[NODE_WEIGHT] or 1))
  end
  return math.floor(TAG_SCALE / weight)
end

-- The names of a call's flow and sub-queue.
function queue.names_of(request)
  local flow = hashed(table.concat({ request.leaf, request.class, request.key }, '\n'))
  local parts = { flow, request.model }
  for _, name in ipairs(ATTRIBUTES) do parts[#parts + 1] = request[name] end
  return flow, hashed(table.concat(parts, '\31'))
end

-- Whether it had more than its share, on the whole or at some bottleneck.
local function is_ahead(call, record)
  if record.tag > call.meta.vtime then return true end
  for x, finish in pairs(record.locals) do
    local bottleneck = queue.bottleneck_of(call, x)
    if bottleneck and finish > bottleneck.v then return true end
  end
  return false
end

-- The flow a call belongs to; without waiters and nowhere ahead of the others it starts anew.
function queue.open_flow(call, flow, request)
  local record = queue.flow_of(call, flow)
  if not record or record.waiting == 0 and not is_ahead(call, record) then
    -- Round 0 is for retries: they go before everybody.
    record = { birth = queue.next_seq(call), tag = call.meta.vtime, round = 1, waiting = 0, class = request.class,
      leaf = request.leaf, locals = {} }
    call.flows[flow] = record
  end
  return record
end

function queue.runnable_member(flow, record)
  return digits(record.birth) .. flow
end

local function head_member(sub, record)
  return table.concat({ record.flow, digits(record.round), digits(record.seq), sub }, '\0')
end

-- Who has waited longest, leaf by leaf: only the snapshot asks.
local function age_member(id, waiter)
  return table.concat({ 'A', waiter.leaf, digits(waiter.since), id }, '\0')
end

-- When the call began to wait that has waited longest with this leaf, logical ms; nil: none waits.
function queue.oldest_of(call, leaf)
  local prefix = 'A\0' .. leaf
  local member = lex_range(call.keys.order, prefix, 'LIMIT', 0, 1)[1]
  return member and tonumber(string.sub(member, #prefix + 2, #prefix + 17))
end

-- The first of a sub-queue: round, seq, id; nil: it is empty.
function queue.head_of(call, sub)
  local member = lex_range(call.keys.order, sub, 'LIMIT', 0, 1)[1]
  if not member then return nil end
  local from = #sub + 2
  return tonumber(string.sub(member, from, from + 15)), tonumber(string.sub(member, from + 17, from + 32)),
    string.sub(member, from + 34)
end

function queue.score_flow(call, flow, record)
  local member = queue.runnable_member(flow, record)
  local change
  if lex_range(call.keys.heads, flow, 'LIMIT', 0, 1)[1] then
    change = redis.call('ZADD', call.keys.runnable, int(record.tag), member)
  else
    change = -redis.call('ZREM', call.keys.runnable, member)
  end
  if record.class ~= 1 then call.meta.runnable_others = call.meta.runnable_others + change end
end

-- Out of whatever place it has: neither parked nor to be dispatched.
local function lift_sub(call, sub, record)
  if record.seq < 0 then return end
  if record.x ~= '' then
    queue.step_out(call, sub, record)
  else
    redis.call('ZREM', call.keys.heads, head_member(sub, record))
  end
  record.x, record.round, record.seq = '', -1, -1
end

-- May be dispatched from now on, by its head.
function queue.make_runnable(call, sub, record)
  call.changed = true
  lift_sub(call, sub, record)
  local round, seq = queue.head_of(call, sub)
  record.round, record.seq = round, seq
  redis.call('ZADD', call.keys.heads, 0, head_member(sub, record))
  local flow = queue.flow_of(call, record.flow)
  flow.tag = math.max(flow.tag, call.meta.vtime)
  queue.score_flow(call, record.flow, flow)
end

function queue.bottleneck_at(call, x)
  local bottleneck = queue.bottleneck_of(call, x)
  if not bottleneck then
    bottleneck = { v = 0, first = -1, bypass = 0, tag = -1, birth = -1, round = -1, seq = -1 }
    call.bottlenecks[x] = bottleneck
  end
  return bottleneck
end

-- `keeps_place`: it stood there a moment ago and was not looked at.
function queue.park(call, sub, record, x, keeps_place)
  call.changed = true
  local flow = queue.flow_of(call, record.flow)
  lift_sub(call, sub, record)
  if not keeps_place then
    queue.set_local(call, record.flow, flow, x, math.max(queue.bottleneck_at(call, x).v, flow.locals[x] or 0))
  end
  local round, seq = queue.head_of(call, sub)
  record.x, record.round, record.seq = x, round, seq
  queue.line_up(call, sub, record, flow)
  queue.score_flow(call, record.flow, flow)
  queue.review_guard(call, sub, x)
  if flow.class ~= 1 then queue.wake(call, 'account|system') end
end

function queue.set_timer(call, x, at_ms)
  if not at_ms then return end
  local before = redis.call('ZSCORE', call.keys.timers, x)
  if before and tonumber(before) <= at_ms then return end
  redis.call('ZADD', call.keys.timers, int(at_ms), x)
  call.changed = true
end

function queue.copy_cursor(from, to)
  to.tag, to.birth, to.round, to.seq = from.tag, from.birth, from.round, from.seq
end

-- Those parked at a bottleneck may have room: they are looked at in the dispatch of this call (rule Q6).
function queue.wake(call, x, by_timer)
  if call.meta.waiting == 0 then return end
  local bottleneck = queue.bottleneck_of(call, x)
  if not bottleneck then return end
  for _, each in ipairs(call.wakes) do
    if each.x == x then return end
  end
  local wake = { x = x, tag = -1, birth = -1, round = -1, seq = -1 }
  if by_timer then queue.copy_cursor(bottleneck, wake) end
  bottleneck.tag, bottleneck.birth = -1, -1
  if not lex_range(call.keys.parked, x, 'LIMIT', 0, 1)[1] then return end
  call.wakes[#call.wakes + 1] = wake
end

-- Everything an ended lease may have made room at; `entries` as in a lease.
function queue.wake_path(call, entries)
  if call.meta.waiting == 0 then return end
  for _, entry in ipairs(entries) do
    local name = entry[1]
    queue.wake(call, name)
    if name == 'account' then queue.wake(call, 'account|system') end
    for _, charge in ipairs(entry[3]) do queue.wake(call, name .. '|' .. string.match(charge.n, '^[^|]*')) end
  end
end

-- Looks at everything that is parked: whatever changed may have made room anywhere.
function queue.wake_all(call)
  if call.meta.waiting == 0 then return end
  local xs = {}
  for _, field in ipairs(redis.call('HKEYS', call.keys.flows)) do
    if string.sub(field, 1, 2) == 'B:' then xs[#xs + 1] = string.sub(field, 3) end
  end
  table.sort(xs)
  for _, x in ipairs(xs) do queue.wake(call, x) end
end

-- Calls are counted on other nodes than before: nobody is parked where it may not pass any more.
function queue.release_all(call)
  for _, sub in ipairs(queue.all_parked(call)) do queue.make_runnable(call, sub, queue.sub_of(call, sub)) end
end

-- One waiter fewer. If it was the first, the next one of its sub-queue is looked at.
function queue.leave(call, id, waiter)
  local keys, meta = call.keys, call.meta
  local record = queue.sub_of(call, waiter.sub)
  local flow = queue.flow_of(call, record.flow)
  local _, _, first = queue.head_of(call, waiter.sub)
  redis.call('HDEL', keys.waiters, id)
  redis.call('ZREM', keys.patience, id)
  redis.call('ZREM', keys.order,
    table.concat({ waiter.sub, digits(waiter.round), digits(waiter.seq), id }, '\0'))
  redis.call('ZREM', keys.order, age_member(id, waiter))
  record.waiting, flow.waiting, meta.waiting = record.waiting - 1, flow.waiting - 1, meta.waiting - 1
  if waiter.class == 1 then meta.waiting_system = meta.waiting_system - 1 end
  redis.call('HINCRBY', keys.flows, 'L:' .. waiter.leaf, -1)
  if first == id then queue.end_guard(call, waiter.sub) end
  if record.waiting == 0 then
    lift_sub(call, waiter.sub, record)
    call.subs[waiter.sub] = false
    queue.score_flow(call, record.flow, flow)
  elseif first == id then
    queue.make_runnable(call, waiter.sub, record)
  end
  if waiter.class ~= 1 then queue.wake(call, 'account|system') end
end

-- How many wait with this leaf.
function queue.waiting_of(call, leaf)
  return tonumber(redis.call('HGET', call.keys.flows, 'L:' .. leaf) or 0)
end

-- A sign of life of whoever asked for it.
function queue.hear(call, id, waiter)
  redis.call('ZADD', call.keys.patience, int(math.min(waiter.deadline, call.meta.now_ms + WAITER_TTL_MS)), id)
end

-- Joins its sub-queue; returns it.
function queue.join(call, id, waiter, flow_name)
  local keys, meta = call.keys, call.meta
  local flow = queue.flow_of(call, flow_name)
  local record = queue.sub_of(call, waiter.sub)
  redis.call('HSET', keys.waiters, id, encode_waiter(waiter))
  queue.hear(call, id, waiter)
  redis.call('ZADD', keys.order, 0,
    table.concat({ waiter.sub, digits(waiter.round), digits(waiter.seq), id }, '\0'))
  redis.call('ZADD', keys.order, 0, age_member(id, waiter))
  flow.waiting, meta.waiting = flow.waiting + 1, meta.waiting + 1
  if waiter.class == 1 then meta.waiting_system = meta.waiting_system + 1 end
  redis.call('HINCRBY', keys.flows, 'L:' .. waiter.leaf, 1)
  if not record then
    record = { birth = queue.next_seq(call), flow = flow_name, round = -1, seq = -1, x = '', waiting = 0 }
    call.subs[waiter.sub] = record
  end
  record.waiting = record.waiting + 1
  return record
end

function queue.position_of(call, waiter, id)
  local from = '[' .. waiter.sub .. '\0'
  local to = '(' .. table.concat({ waiter.sub, digits(waiter.round), digits(waiter.seq), id }, '\0')
  return redis.call('ZLEXCOUNT', call.keys.order, from, to) + 1
end

-- Rough: when the bottleneck of its sub-queue is looked at next; -1: nothing to go by.
function queue.eta_of(call, waiter)
  local record = queue.sub_of(call, waiter.sub)
  local at = record and record.x ~= '' and redis.call('ZSCORE', call.keys.timers, record.x)
  return at and math.max(0, tonumber(at) - call.meta.now_ms) or -1
end

-- When the engine wants to be asked again, logical ms; -1: nothing is due by time.
function queue.next_tick(call)
  if call.more then return call.meta.now_ms end
  local from = call.root_stopped and '(' .. int(call.meta.now_ms) or '-inf'
  local timer = call.meta.waiting > 0
    and redis.call('ZRANGEBYSCORE', call.keys.timers, from, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)[2]
  local hold = redis.call('ZRANGE', call.keys.holds, 0, 0, 'WITHSCORES')[2]
  local least = math.min(timer and tonumber(timer) or MAX_AMOUNT, hold and tonumber(hold) or MAX_AMOUNT)
  return least < MAX_AMOUNT and least or -1
end
