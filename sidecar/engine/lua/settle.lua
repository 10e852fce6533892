-- settle: replaces reserves by actual use, by the rollback matrix; also for leases that expired meanwhile (rule T4).
--
-- KEYS  as in keys.ts
-- ARGV  known epoch ('' = none), then for each settlement: id, fence, outcome, sent after ms (-1 = never), first byte
--       after ms (-1 = never), hold ms, frozen until wall ms (-1 = not said), the 9 amounts used, what is known of the
--       call (for the ledger only)
-- reply one of { 'settled', late 0|1, overdraft 0|1 } | { 'unknown' } for each, or { { 'epoch', epoch } }
-- keeps inv-I2, inv-I5 (a second settlement of an id changes nothing), inv-I7 (granted = settled + expired + live); the
--       freed slot goes to the next waiter in the same step (Q6).

local SETTLEMENT_COUNT = 8 + AMOUNT_COUNT

-- Outcome → refund the windows, return the rate token, the vendor accepted the call if it answered at all.
local MATRIX = {
  completed = { false, false, true },
  brokeMidStream = { false, false, true },
  neverSent = { true, true, false },
  refusedConcurrency = { true, false, false },
  refusedRate = { true, false, false },
  refusedOverload = { true, false, false },
  refusedQuota = { true, false, false },
  failedBeforeFirstByte = { true, false, false },
  rejected = { true, false, false },
}

-- `again`: the same call goes back into the queue, its id is not done with. Second value: its place in the queue.
local function settle_one(call, ARGV, first, again)
  local id, fence, outcome = ARGV[first], tonumber(ARGV[first + 1]), ARGV[first + 2]
  local row, lease = MATRIX[outcome], read_lease(call, id)
  if not lease or lease.f ~= fence then return { 'unknown' } end
  local sent_after, first_after = tonumber(ARGV[first + 3]), tonumber(ARGV[first + 4])
  local hold_ms = tonumber(ARGV[first + 5])
  local late = lease.x == 1
  local ending = {
    refund = row[1], refund_rate = row[2], actual = read_amounts(ARGV, first + 7), outcome = outcome,
    -- Without a response nobody knows whether it opened the vendor's window (rule N1).
    -- Nor of one that was put back: its times count from when it was granted first, and that is forgotten.
    accepted = row[3] and first_after >= 0 and lease.s == lease.f, answered = first_after >= 0,
    -- No answer comes before its call: a window must not end before it begins.
    sent = lease.w + math.max(0, sent_after), first = lease.w + math.max(first_after, sent_after),
    sent_after = math.max(0, sent_after), frozen = tonumber(ARGV[first + 6]),
  }
  local overdraft = apply_ending(call, lease, ending)
  decay_hold(call.meta)
  if not late then learn(call, id, lease, ending) end
  if outcome ~= 'neverSent' then hold_ms = math.max(hold_ms, call.meta.hold_ms) end
  if again then
    queue.requeue(call, id, lease, hold_ms)
  else
    finish(call, id, lease, hold_ms)
  end
  return { 'settled', late and 1 or 0, overdraft and 1 or 0 }, lease.p
end

local function settle(KEYS, ARGV)
  local call = open(KEYS)
  require_tree(call)
  local epoch = other_epoch(call, ARGV[1])
  if epoch then
    save(call)
    return { { 'epoch', epoch } }
  end
  begin(call)
  local replies = {}
  for first = 2, #ARGV, SETTLEMENT_COUNT do replies[#replies + 1] = settle_one(call, ARGV, first) end
  conclude(call)
  return replies
end

register('settle', settle, { 'allow-oom' })
