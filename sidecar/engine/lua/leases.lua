-- Leases: paths, grants, endings, expiry.
--
-- Lease record { o = owner, f = fence, s = order of its charges among all (the fence of the tree when it was taken),
--   g = granted (logical ms), w = granted (wall ms), m = longest run ms, q = 1: claimed, v = 1: holds its slots,
--   x = 1: its reserve has landed (it expired), n = { { node, rate number, { charges } }, … } }
-- with owners of windows before those that follow them.

local NODE_PATH, NODE_CONCURRENCY, NODE_INTERVAL, NODE_BURST, NODE_STOPPED, NODE_LIMITS = 1, 2, 3, 4, 5, 6
local TREE_GENERATION, TREE_PATH_GENERATION = 6, 8

local function read_lease(call, id)
  local packed = redis.call('HGET', call.keys.leases, id)
  local lease = packed and decode_lease(packed)
  -- What is too old for a late settlement is gone, whether it was pruned already or not.
  if not lease or lease.v == 0 and call.meta.now_ms >= lease.g + lease.m + LATE_MS then return nil end
  return lease
end

local function write_lease(call, id, lease)
  redis.call('HSET', call.keys.leases, id, encode_lease(lease))
end

local function extend(call, id)
  redis.call('ZADD', call.keys.expiries, int(call.meta.now_ms + TTL_MS), id)
end

-- Owners, how many leases each holds and when it was last heard; an owner without leases is forgotten.
local OWNER_FORMAT = '<dd'

local function note_owner(call, owner, change)
  local packed = redis.call('HGET', call.keys.owners, owner)
  local leases, seen = 0, 0
  if packed then leases, seen = struct.unpack(OWNER_FORMAT, packed) end
  leases = leases + change
  if change >= 0 then seen = call.meta.now_ms end
  if leases > 0 then
    redis.call('HSET', call.keys.owners, owner, struct.pack(OWNER_FORMAT, leases, seen))
  elseif packed then
    redis.call('HDEL', call.keys.owners, owner)
  end
end

local function is_done(call, id)
  local until_ms = redis.call('ZSCORE', call.keys.done, id)
  return until_ms and tonumber(until_ms) > call.meta.now_ms
end

-- The nodes a call is counted on, derived here from the leaf and the routed model (rule W1), leaf first:
-- { { name, config }, … }. Nil: no such leaf.
local function resolve_path(call, leaf, model)
  local own = 'model:' .. model
  local model_node = node_configs(call, { own })[1] and own or 'model:other'
  local path = call.paths[leaf .. '\n' .. model_node]
  if not path then
    local config = node_configs(call, { leaf })[1]
    if not config then return nil end
    local names = { unpack(config[NODE_PATH]) }
    names[#names + 1] = model_node
    path = { names = names }
    for index, found in ipairs(node_configs(call, names)) do
      if found then path[#path + 1] = { names[index], found } end
    end
    call.paths[leaf .. '\n' .. model_node] = path
  end
  load_nodes(call, path.names)
  return path
end

-- Takes everything on every node of the path. `force`: without the rate, for a call that runs already.
local function take_path(call, path, amounts, force)
  local taken = {}
  for index = #path, 1, -1 do
    local name, config = path[index][1], path[index][2]
    local record = touch(call, name)
    local number, charges = 0, {}
    record.i = record.i + 1
    if config[NODE_INTERVAL] > 0 and not force then
      number = take_rate(record, config[NODE_INTERVAL], call.meta.now_us)
    end
    for _, limit in ipairs(config[NODE_LIMITS]) do
      charges[#charges + 1] = take_limit(call, record, limit, amounts[limit[LIMIT_RESOURCE]])
    end
    taken[#taken + 1] = { name, number, charges }
  end
  return taken
end

local function free_slots(call, id, lease)
  if lease.v == 0 then return end
  for _, entry in ipairs(lease.n) do
    local record = touch(call, entry[1])
    record.i = record.i - 1
  end
  redis.call('ZREM', call.keys.expiries, id)
  note_owner(call, lease.o, -1)
  lease.v = 0
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
  return overdraft
end

-- The lease is over: forget it, remember its id.
local function finish(call, id, lease)
  free_slots(call, id, lease)
  redis.call('HDEL', call.keys.leases, id)
  redis.call('ZREM', call.keys.late, id)
  redis.call('ZADD', call.keys.done, int(call.meta.now_ms + LATE_MS), id)
end

-- Outcome unknown: the slot returns, the reserve lands, the record stays for a late settlement (rule T4).
local function expire(call, id)
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
    lease.x = 1
  end
  free_slots(call, id, lease)
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

-- ARGV from `first`: the seven amounts of a call. Returned by resource index; `Tokens` is the sum of its three.
local function read_amounts(ARGV, first)
  local function at(offset) return tonumber(ARGV[first + offset]) end
  local input, cached, output = at(2), at(3), at(4)
  return { at(0), at(1), input, cached, output, saturate(input + cached + output), at(5), at(6) }
end

local AMOUNT_COUNT = 7
