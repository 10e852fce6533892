-- cancel: a call that was never sent gives everything back; an id not seen yet can no longer be granted.
--
-- KEYS  as in keys.ts
-- ARGV  id
-- reply 1: refunded | 0: there was nothing to refund
-- keeps inv-I6 (no grant to a cancelled id): a delayed acquire that arrives after its cancel is answered `done`.

local NEVER_SENT = { refund = true, refund_rate = true, accepted = false, actual = {}, sent = 0, first = 0 }

-- A lease that expired after its claim may have been sent: its reserve stays (rule T4).
local function give_back(call, id, lease)
  if lease.v == 0 and lease.q == 1 then return false end
  apply_ending(call, lease, NEVER_SENT)
  finish(call, id, lease)
  return true
end

local function cancel(KEYS, ARGV)
  local id = ARGV[1]
  local call = open(KEYS)
  require_tree(call)
  local lease = read_lease(call, id)
  local given = false
  if lease then
    given = give_back(call, id, lease)
  else
    redis.call('ZADD', call.keys.done, int(call.meta.now_ms + LATE_MS), id)
  end
  reap(call)
  prune(call)
  save(call)
  return given and 1 or 0
end

register('cancel', cancel, { 'allow-oom' })
