-- Leases: grants, endings, expiry.
--
-- Lease record { o = owner, f = fence, s = order of its charges among all (the fence of the tree when it was taken),
--   g = granted (logical ms), w = granted (wall ms), m = longest run ms, q = 1: claimed, v = 1: holds its slots,
--   x = 1: its reserve has landed (it expired), c = class index, d = 1: granted out of the queue and not heard of since,
--   2: heard of, h = 1: settled, its slots are held a little longer, p = its place in the queue (0 = it never waited),
--   n = { { node, rate number, { charges } }, … } } with owners of windows before those that follow them.

local TREE_GENERATION, TREE_PATH_GENERATION = 6, 8

local function read_lease(call, id)
  local packed = redis.call('HGET', call.keys.leases, id)
  local lease = packed and decode_lease(packed)
  -- What is held is over for everybody, and what is too old for a late settlement is gone, pruned already or not.
  if not lease or lease.h == 1 or lease.v == 0 and call.meta.now_ms >= lease.g + lease.m + LATE_MS then return nil end
  return lease
end

local function write_lease(call, id, lease)
  redis.call('HSET', call.keys.leases, id, encode_lease(lease))
end

-- A lease that was not there. A record of its id that was too old for anything must not be pruned in its place.
local function add_lease(call, id, lease)
  redis.call('ZREM', call.keys.late, id)
  write_lease(call, id, lease)
end

local function extend(call, id)
  redis.call('ZADD', call.keys.expiries, int(call.meta.now_ms + TTL_MS), id)
end

-- Owners: how many leases each holds, when it was last heard, and the epoch it last registered in or was granted in.
-- An owner without leases is forgotten. Returns how many it holds.
local OWNER_FORMAT = '<ddd'

local function note_owner(call, owner, change, registered)
  local packed = redis.call('HGET', call.keys.owners, owner)
  local leases, seen, epoch = 0, 0, 0
  if packed then leases, seen, epoch = struct.unpack(OWNER_FORMAT, packed) end
  leases = leases + change
  if change >= 0 then seen = call.meta.now_ms end
  if registered or not packed then epoch = call.meta.epoch end
  if leases > 0 then
    redis.call('HSET', call.keys.owners, owner, struct.pack(OWNER_FORMAT, leases, seen, epoch))
  elseif packed then
    redis.call('HDEL', call.keys.owners, owner)
  end
  return leases
end

-- Whether owners that held leases before the memory changed are still to be heard (rule T7).
local function is_owner_missing(call)
  if call.missing == nil then
    call.missing = false
    for _, packed in ipairs(redis.call('HVALS', call.keys.owners)) do
      local _, _, epoch = struct.unpack(OWNER_FORMAT, packed)
      if epoch ~= call.meta.epoch then call.missing = true end
    end
  end
  return call.missing
end

-- Logical time until which nothing is granted, nil = it may be: owners are missing, or there was no time yet for those
-- whose only grants were forgotten and whom nobody misses.
local function learning_until(call)
  local meta = call.meta
  if meta.now_ms >= meta.learn_until then return nil end
  if meta.learn_all == 1 or is_owner_missing(call) then return meta.learn_until end
  local least = meta.learn_until - (TTL_MS + BEAT_MS) + SILENT_MS
  return meta.now_ms < least and least or nil
end

local function is_done(call, id)
  local until_ms = redis.call('ZSCORE', call.keys.done, id)
  return until_ms and tonumber(until_ms) > call.meta.now_ms
end

-- Takes everything on every node of the path. `force`: without the rate, for a call that runs already.
local function take_path(call, path, request, how)
  local taken, amounts = {}, request.amounts
  for index = #path, 1, -1 do
    local name, config = path[index][1], path[index][2]
    local record = touch(call, name)
    local number, charges = 0, {}
    take_slot(call, name, config, record, request, how)
    if config[NODE_INTERVAL] > 0 and not how.force then
      number = take_rate(record, interval_of(call, config, record), call.meta.now_us)
      if config[NODE_OBSERVE] == 1 then
        record.tat = math.min(record.tat, call.meta.now_us + config[NODE_BURST] * record.rt)
      end
    end
    for _, limit in ipairs(config[NODE_LIMITS]) do
      charges[#charges + 1] = take_limit(call, record, limit, amounts[limit[LIMIT_RESOURCE]])
    end
    taken[#taken + 1] = { name, number, charges }
  end
  for _, entry in ipairs(taken) do sync_guarantees(call, entry[1]) end
  return taken
end

-- From its first claim or beat on a lease granted out of the queue counts as sent.
local function note_sent(call, lease)
  if lease.d ~= 1 then return end
  lease.d = 2
  for _, entry in ipairs(lease.n) do
    local record = touch(call, entry[1])
    record.z = record.z - 1
  end
end

-- Slots come free and whoever waits for them is looked at next.
local function return_slots(call, lease)
  local unsent = lease.h == 1 or lease.d == 1
  for _, entry in ipairs(lease.n) do
    local record = touch(call, entry[1])
    record.i = record.i - 1
    if unsent then record.z = record.z - 1 end
    if lease.c == 1 then record.y = record.y - 1 end
  end
  lease.v = 0
  queue.wake_path(call, lease.n)
end

local function free_slots(call, id, lease)
  if lease.v == 0 then return end
  redis.call('ZREM', call.keys.expiries, id)
  note_owner(call, lease.o, -1)
  return_slots(call, lease)
end

-- Applies `ending` to all charges, once. Returns whether a limit is now exceeded by it.
local function apply_ending(call, lease, ending)
  local overdraft = false
  ending.order, ending.wall, ending.fence_now = lease.s, call.meta.wall_ms, call.meta.fence
  for _, entry in ipairs(lease.n) do
    local record = touch(call, entry[1])
    for _, charge in ipairs(entry[3]) do
      if lease.x == 1 then
        settle_charge_late(call, record, charge, ending)
      else
        overdraft = settle_charge(call, record, charge, ending) or overdraft
      end
    end
    if ending.refund_rate then refund_rate(record, entry[2]) end
  end
  for _, entry in ipairs(lease.n) do sync_guarantees(call, entry[1]) end
  if lease.v == 0 then queue.wake_path(call, lease.n) end
  return overdraft
end

local function forget_lease(call, id)
  redis.call('HDEL', call.keys.leases, id)
  redis.call('ZREM', call.keys.late, id)
end

local function bury(call, id)
  redis.call('ZADD', call.keys.done, int(call.meta.now_ms + LATE_MS), id)
end

-- The slots of a settled lease stay taken for a while, because the vendor may still count the call (rule T6).
local function hold_slots(call, id, lease, hold_ms)
  lease.h = 1
  queue.wake_path(call, lease.n)
  for _, entry in ipairs(lease.n) do
    entry[3] = {}
    if lease.d ~= 1 then
      local record = touch(call, entry[1])
      record.z = record.z + 1
    end
  end
  write_lease(call, id, lease)
  redis.call('ZADD', call.keys.holds, int(call.meta.now_ms + hold_ms), id)
end

-- The lease is over: forget it, remember its id.
local function finish(call, id, lease, hold_ms)
  if lease.v == 1 and (hold_ms or 0) > 0 then
    redis.call('ZREM', call.keys.expiries, id)
    note_owner(call, lease.o, -1)
    hold_slots(call, id, lease, hold_ms)
  else
    free_slots(call, id, lease)
    forget_lease(call, id)
  end
  bury(call, id)
end

local function end_hold(call, name)
  redis.call('ZREM', call.keys.holds, name)
  local packed = redis.call('HGET', call.keys.leases, name)
  if not packed then return end
  return_slots(call, decode_lease(packed))
  forget_lease(call, name)
end

-- Slots whose hold is over.
local function release_holds(call)
  local due = redis.call('ZRANGEBYSCORE', call.keys.holds, '-inf', int(call.meta.now_ms), 'LIMIT', 0, REAP_BUDGET)
  for _, name in ipairs(due) do end_hold(call, name) end
end

-- Outcome unknown: the slot returns, the reserve lands, the record stays for a late settlement (rule T4).
local function expire(call, id, hold_ms)
  local lease = read_lease(call, id)
  if not lease then
    redis.call('ZREM', call.keys.expiries, id)
    return
  end
  if lease.x == 0 then
    for _, entry in ipairs(lease.n) do
      local record = touch(call, entry[1])
      for _, charge in ipairs(entry[3]) do
        local reserved = {}
        reserved[charge.q] = charge.R
        settle_charge(call, record, charge, { refund = false, accepted = false, actual = reserved, sent = lease.w,
          order = lease.s, wall = call.meta.wall_ms, fence_now = call.meta.fence })
      end
    end
    for _, entry in ipairs(lease.n) do sync_guarantees(call, entry[1]) end
    learn(call, id, lease, {})
    lease.x = 1
  end
  -- A dead call may still be counted by the vendor for a moment: its slots are held under a name of their own.
  if hold_ms and lease.v == 1 then
    redis.call('ZREM', call.keys.expiries, id)
    note_owner(call, lease.o, -1)
    local held = decode_lease(encode_lease(lease))
    hold_slots(call, id .. '\0' .. int(lease.f), held, hold_ms)
    lease.v, lease.d = 0, lease.d > 0 and 2 or 0
  else
    free_slots(call, id, lease)
  end
  write_lease(call, id, lease)
  redis.call('ZADD', call.keys.late, int(lease.g + lease.m + LATE_MS), id)
end

-- More than half of several owners silent at once is a fault of the network, not of them: hold for one lifetime,
-- then believe it (rule T3).
local function many_owners_silent(call)
  local meta = call.meta
  if meta.now_ms < meta.mass_from + TTL_MS then return true end
  if meta.now_ms < meta.mass_from + 2 * TTL_MS then return false end
  local total, silent = 0, 0
  for _, packed in ipairs(redis.call('HVALS', call.keys.owners)) do
    local _, seen = struct.unpack(OWNER_FORMAT, packed)
    total = total + 1
    if seen < meta.now_ms - SILENT_MS then silent = silent + 1 end
  end
  if silent < 2 or silent * 2 <= total then return false end
  meta.mass_from = meta.now_ms
  return true
end

local function prune(call)
  local now = int(call.meta.now_ms)
  local old = redis.call('ZRANGEBYSCORE', call.keys.late, '-inf', now, 'LIMIT', 0, PRUNE_BUDGET)
  if #old > 0 then
    redis.call('HDEL', call.keys.leases, unpack(old))
    redis.call('ZREM', call.keys.late, unpack(old))
  end
  local finished = redis.call('ZRANGEBYSCORE', call.keys.done, '-inf', now, 'LIMIT', 0, PRUNE_BUDGET)
  if #finished > 0 then redis.call('ZREM', call.keys.done, unpack(finished)) end
end

-- Expires what is due, at most REAP_BUDGET leases a call.
local function reap(call)
  local meta = call.meta
  local until_ms = meta.now_ms
  if meta.now_ms < meta.no_reap_until then until_ms = math.min(until_ms, meta.gap_from) end
  local due = redis.call('ZRANGEBYSCORE', call.keys.expiries, '-inf', int(until_ms), 'LIMIT', 0, REAP_BUDGET)
  if #due == 0 or many_owners_silent(call) then return end
  for _, id in ipairs(due) do expire(call, id) end
  prune(call)
end
