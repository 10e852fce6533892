-- settle: replaces reserves by actual use, by the rollback matrix; also for leases that expired meanwhile (rule T4).
--
-- KEYS  as in keys.ts
-- ARGV  known epoch ('' = none), then for each settlement: id, fence, outcome, sent after ms (-1 = never), first byte
--       after ms (-1 = never), the 7 amounts used
-- reply one of { 'settled', late 0|1, overdraft 0|1 } | { 'unknown' } for each, or { { 'epoch', epoch } }
-- keeps inv-I2, inv-I5 (a second settlement of an id changes nothing), inv-I7 (granted = settled + expired + live).

-- Outcome → refund the windows, return the rate token, the vendor accepted the call if it answered at all.
local MATRIX = {
  completed = { false, false, true },
  brokeMidStream = { false, false, true },
  neverSent = { true, true, false },
  refusedRate = { true, false, false },
  refusedQuota = { true, false, false },
  failedBeforeFirstByte = { true, false, false },
  rejected = { true, false, false },
}

local function settle_one(call, ARGV, first)
  local id, fence, row = ARGV[first], tonumber(ARGV[first + 1]), MATRIX[ARGV[first + 2]]
  local lease = read_lease(call, id)
  if not lease or lease.f ~= fence then return { 'unknown' } end
  local sent_after, first_after = tonumber(ARGV[first + 3]), tonumber(ARGV[first + 4])
  local late = lease.x == 1
  local ending = {
    refund = row[1], refund_rate = row[2], actual = read_amounts(ARGV, first + 5),
    -- Without a response nobody knows whether it opened the vendor's window (rule N1).
    accepted = row[3] and first_after >= 0,
    sent = lease.w + math.max(0, sent_after), first = lease.w + first_after,
  }
  local overdraft = apply_ending(call, lease, ending)
  finish(call, id, lease)
  return { 'settled', late and 1 or 0, overdraft and 1 or 0 }
end

local function settle(KEYS, ARGV)
  local call = open(KEYS)
  require_tree(call)
  local replies = {}
  local epoch = other_epoch(call, ARGV[1])
  if epoch then
    replies[1] = { 'epoch', epoch }
  else
    for first = 2, #ARGV, 5 + AMOUNT_COUNT do replies[#replies + 1] = settle_one(call, ARGV, first) end
    reap(call)
    prune(call)
  end
  save(call)
  return replies
end

register('settle', settle, { 'allow-oom' })
