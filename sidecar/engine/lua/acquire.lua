-- acquire: one slot, one rate token and the reserve of every limit on every node of a call's path, or nothing; what does
-- not fit may wait (refuse_or_wait in check.lua).
--
-- KEYS  as in keys.ts
-- ARGV  id, owner, generation, known epoch ('' = none), the call (read_request in leases.lua)
-- reply { 'granted', fence, epoch, granted logical ms, now logical ms, ttl ms, then node, limit, percent of each warning }
--       { 'queued', epoch, position, eta ms (-1 = unknown), now logical ms, next tick logical ms (-1 = none) }
--       { 'denied', reason, node, limit, used, amount, retry wall ms (-1 = unknown), now wall ms }
--       { 'stale', generation } | { 'epoch', epoch } | { 'done' }
-- keeps inv-I2 (counters = recount), inv-I5 (an id is charged once), inv-I8 (all or nothing, every level), no barging
--       (whoever waits for the same goes first); no allow-oom: a full server grants nothing.

local function queued_reply(call, id, waiter)
  return { 'queued', call.meta.epoch, queue.position_of(call, waiter, id), queue.eta_of(call, waiter), call.meta.now_ms,
    queue.next_tick(call) }
end

local function deadline_of(call, request)
  return call.meta.now_ms + clamp(request.patience, 0, 86400000)
end

-- The denial of a waiter nobody heard of yet; forgotten when told to its owner with `tell`.
local function notice_of(call, id, owner, tell)
  local text = redis.call('HGET', call.keys.waiters, 'N:' .. id)
  local notice = text and unpack_record(text)
  if not notice or notice[1] ~= owner then return nil end
  local until_ms = redis.call('ZSCORE', call.keys.patience, 'N:' .. id)
  if not until_ms or tonumber(until_ms) <= call.meta.now_ms then return nil end
  if tell then
    redis.call('HDEL', call.keys.waiters, 'N:' .. id)
    redis.call('ZREM', call.keys.patience, 'N:' .. id)
  end
  return notice[2]
end

-- The answer for an id that was seen before; nil: it is new.
local function replay(call, id, request)
  local lease = read_lease(call, id)
  if lease then
    if lease.v == 1 and lease.o == request.owner then return grant_reply(call, lease) end
    return { 'done' }
  end
  local text = redis.call('HGET', call.keys.waiters, id)
  if text then
    local waiter = decode_waiter(text)
    if waiter.owner ~= request.owner then return { 'done' } end
    waiter.deadline = math.max(waiter.deadline, deadline_of(call, request))
    redis.call('HSET', call.keys.waiters, id, encode_waiter(waiter))
    queue.hear(call, id, waiter)
    queue.keep_turn(call, waiter)
    return nil, waiter
  end
  local notice = notice_of(call, id, request.owner, false)
  if notice then return notice end
  if is_done(call, id) then return { 'done' } end
  return nil
end

local function is_draining(call, owner)
  if call.meta.draining == 0 then return false end
  local mark = redis.call('HGET', call.keys.meta, 'd:' .. string.match(owner, '^(.-)/?[^/]*$'))
  return mark and (mark == '1' or call.meta.now_ms < tonumber(mark))
end

-- The place somebody of that name left a moment ago.
local function kept_place(call, request)
  if request.place == '' then return nil end
  local field = 'P:' .. request.owner .. '\0' .. request.place
  local text = redis.call('HGET', call.keys.waiters, field)
  if not text then return nil end
  local until_ms = tonumber(redis.call('ZSCORE', call.keys.patience, field))
  local sub, round, seq = struct.unpack('<sdd', text)
  if sub ~= request.sub or until_ms <= call.meta.now_ms then return nil end
  redis.call('HDEL', call.keys.waiters, field)
  redis.call('ZREM', call.keys.patience, field)
  return round, seq
end

local function queue_full(call, request)
  local flow = call.meta.waiting
  local account = node_configs(call, { 'account' })[1]
  local leaf = node_configs(call, { request.leaf })[1]
  local function denial(node, used, most)
    return denial_of(call, failing_at(node, 'QueueFull', 'queue', used, most))
  end
  if leaf and leaf[NODE_QUEUE] >= 0 and request.leaf ~= 'account' then
    local waiting = queue.waiting_of(call, request.leaf)
    if waiting >= leaf[NODE_QUEUE] then return denial(request.leaf, waiting, leaf[NODE_QUEUE]) end
  end
  if account and account[NODE_QUEUE] >= 0 and flow >= account[NODE_QUEUE] then
    return denial('account', flow, account[NODE_QUEUE])
  end
  return nil
end

-- Joins the queue; `failing`: what it waits for, nil: its turn. `first`: at the head of its flow, with this number.
local function enqueue(call, id, request, failing, root, first)
  local flow_name = request.flow
  local flow = queue.open_flow(call, flow_name, request)
  request.deadline = deadline_of(call, request)
  local round, seq
  if first then
    round, seq = 0, first > 0 and first or queue.next_seq(call)
  else
    round, seq = kept_place(call, request)
    round, seq = queue.next_round(call, flow, request, round), seq or queue.next_seq(call)
  end
  local waiter = request
  waiter.round, waiter.seq, waiter.since = round, seq, call.meta.now_ms
  waiter.attempt = request.attempt or 1
  local record = queue.join(call, id, waiter, flow_name)
  local _, _, head = queue.head_of(call, request.sub)
  if head ~= id then return waiter end
  if failing and not root then
    queue.park(call, request.sub, record, failing.x)
    local retry = failing.retry and failing.retry - call.meta.wall_ms + call.meta.now_ms
    queue.set_timer(call, failing.x, failing.timer or retry)
  else
    queue.make_runnable(call, request.sub, record)
  end
  return waiter
end

local function may_go_first(call, request)
  if call.meta.waiting == 0 then return true end
  if #call.wakes > 0 or queue.sub_of(call, request.sub) then return false end
  if redis.call('ZCARD', call.keys.runnable) > 0 then return false end
  return redis.call('ZCOUNT', call.keys.timers, '-inf', int(call.meta.now_ms)) == 0
end

local function grant_now(call, id, request, path)
  local waiting = call.meta.waiting > 0
  local lease = lease_for(call, id, path, request, { id = id })
  if waiting then
    queue.account_grant(call, path, request, request.flow, queue.open_flow(call, request.flow, request))
  end
  return grant_reply(call, lease, warnings_of(call, path))
end

-- Decides on a call that was never seen. A reply, or the waiter it became.
local function decide(call, id, request, path, first)
  request.class = math.max(request.class, path.class)
  local found = check_path(call, path, request)
  -- Whoever is served at once where nobody waits needs no name in the queue.
  if #found > 0 or call.meta.waiting > 0 then request.flow, request.sub = queue.names_of(request) end
  if #found == 0 and may_go_first(call, request) then return grant_now(call, id, request, path) end
  local failing, root
  if #found > 0 then
    local refused
    refused, failing, root = refuse_or_wait(call, found, request.mode, deadline_of(call, request))
    if refused then return denial_of(call, refused) end
  elseif request.mode == 'R' then
    return denial_of(call, waiting_failing(call))
  end
  local full = queue_full(call, request)
  if full then return full end
  return nil, enqueue(call, id, request, failing, root, first)
end

-- The answer to a waiter after the queue was served.
local function answer_waiter(call, id, waiter)
  return call.outcomes[id] or queued_reply(call, id, waiter)
end

local function acquire(KEYS, ARGV)
  local id, generation = ARGV[1], tonumber(ARGV[3])
  local call = open(KEYS)
  local tree = read_tree(call)
  if not tree or call.outdated then return { 'stale', 0 } end
  local epoch = other_epoch(call, ARGV[4])
  if epoch then
    save(call)
    return { 'epoch', epoch }
  end
  local request = read_request(ARGV, 5)
  request.owner = ARGV[2]
  begin(call)
  reap(call)
  call.reaped = true
  -- What ended is written now: a check brings windows up to the clock, and a denial must not keep that.
  save_nodes(call)
  local reply, waiter = replay(call, id, request)
  if not reply and not waiter then
    local known = generation >= tree[TREE_PATH_GENERATION] and generation <= tree[TREE_GENERATION]
    local path = known and resolve_path(call, request)
    if not path then
      reply = { 'stale', tree[TREE_GENERATION] }
    elseif is_draining(call, request.owner) then
      reply = denial_of(call, failing_at('account', 'Draining', 'drain', 0, 0))
    else
      reply, waiter = decide(call, id, request, path)
    end
  end
  conclude(call)
  return reply or answer_waiter(call, id, waiter)
end

register('acquire', acquire, {})
