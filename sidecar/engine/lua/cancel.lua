-- cancel: a call that was never sent gives everything back, a waiter leaves; an id not seen yet can no longer be granted.
--
-- KEYS  as in keys.ts
-- ARGV  id, keep place 0|1
-- reply 1: refunded, or left the queue | 0: there was nothing to give back
-- keeps inv-I6 (no grant to a cancelled id): a delayed acquire that arrives after its cancel is answered `done`.

local NEVER_SENT = { refund = true, refund_rate = true, accepted = false, actual = {}, sent = 0, first = 0,
  outcome = 'neverSent', sent_after = 0 }

-- A lease that expired after its claim may have been sent: its reserve stays (rule T4).
local function give_back(call, id, lease)
  if lease.v == 0 and lease.q == 1 then return false end
  apply_ending(call, lease, NEVER_SENT)
  learn(call, id, lease, NEVER_SENT)
  finish(call, id, lease)
  return true
end

-- Whoever comes back with the same call within a moment finds its place again.
local function keep_place(call, waiter)
  if waiter.place == '' then return end
  local field = 'P:' .. waiter.owner .. '\0' .. waiter.place
  redis.call('HSET', call.keys.waiters, field, struct.pack('<sdd', waiter.sub, waiter.round, waiter.seq))
  redis.call('ZADD', call.keys.patience, int(call.meta.now_ms + PLACE_MS), field)
end

-- Takes back a grant or a wait of `owner` (nil: of anybody). True: there was something.
local function take_back(call, id, owner, keep)
  local lease = read_lease(call, id)
  if lease then
    if owner and lease.o ~= owner then return false end
    return give_back(call, id, lease)
  end
  local text = redis.call('HGET', call.keys.waiters, id)
  local waiter = text and decode_waiter(text)
  if waiter then
    if owner and waiter.owner ~= owner then return false end
    if keep then keep_place(call, waiter) end
    queue.leave(call, id, waiter)
  end
  bury(call, id)
  return waiter ~= nil
end

local function cancel(KEYS, ARGV)
  local call = open(KEYS)
  require_tree(call)
  begin(call)
  local given = take_back(call, ARGV[1], nil, ARGV[2] == '1')
  conclude(call)
  return given and 1 or 0
end

register('cancel', cancel, { 'allow-oom' })
