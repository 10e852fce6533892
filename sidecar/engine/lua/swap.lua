-- swap: settles one call and asks for the next in one step.
--
-- KEYS  as in keys.ts
-- ARGV  one settlement (settle.lua: known epoch and 17 items), then id, owner, generation, the call (acquire.lua)
-- reply { the settlement's reply, the verdict } as in settle.lua and acquire.lua
-- keeps Q9 (a newcomer: never before those who wait) and, with the same id, Q7 (a retry: the head of its flow, its slot
--       freed meanwhile, its windows refunded by the matrix).

local function settled_epoch(epoch)
  return { { 'epoch', epoch }, { 'epoch', epoch } }
end

-- The slots of a refused call, when its id is to be used again: held under a name of their own.
function queue.requeue(call, id, lease, hold_ms)
  local held = id .. '\0' .. int(lease.f)
  if lease.v == 1 and hold_ms > 0 then
    redis.call('ZREM', call.keys.expiries, id)
    note_owner(call, lease.o, -1)
    redis.call('HDEL', call.keys.leases, id)
    hold_slots(call, held, lease, hold_ms)
  else
    free_slots(call, id, lease)
    forget_lease(call, id)
  end
end

local function swap(KEYS, ARGV)
  local call = open(KEYS)
  local tree = require_tree(call)
  local epoch = other_epoch(call, ARGV[1])
  if epoch then
    save(call)
    return settled_epoch(epoch)
  end
  begin(call)
  local at = 2 + SETTLEMENT_COUNT
  local id, generation, request = ARGV[at], tonumber(ARGV[at + 2]), read_request(ARGV, at + 3)
  request.owner = ARGV[at + 1]
  local again = id == ARGV[2]
  local settled, place = settle_one(call, ARGV, 2, again)
  reap(call)
  call.reaped = true
  save_nodes(call)
  local reply, waiter
  if again and settled[1] == 'unknown' then
    reply = { 'done' }
  else
    reply, waiter = replay(call, id, request)
  end
  if not reply and not waiter then
    local known = generation >= tree[TREE_PATH_GENERATION] and generation <= tree[TREE_GENERATION]
    local path = known and resolve_path(call, request)
    if not path then
      if again then bury(call, id) end
      reply = { 'stale', tree[TREE_GENERATION] }
    elseif not again and is_draining(call, request.owner) then
      reply = denial_of(call, failing_at('account', 'Draining', 'drain', 0, 0))
    else
      reply, waiter = decide(call, id, request, path, again and place or nil)
    end
  end
  if again and reply and reply[1] == 'denied' then bury(call, id) end
  conclude(call)
  return { settled, reply or answer_waiter(call, id, waiter) }
end

register('swap', swap, { 'allow-oom' })
