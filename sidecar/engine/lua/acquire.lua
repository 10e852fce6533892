-- acquire: one slot, one rate token and the reserve of every limit on every node of a call's path, or nothing.
--
-- KEYS  as in keys.ts
-- ARGV  id, owner, leaf, model, generation, known epoch ('' = none), longest run ms, the 7 amounts of the reserve
-- reply { 'granted', fence, epoch, granted logical ms, now logical ms, ttl ms }
--       { 'denied', reason, node, limit, used, amount, retry wall ms (-1 = unknown), now wall ms }
--       { 'stale', generation } | { 'epoch', epoch } | { 'done' }
-- keeps inv-I2 (counters = recount), inv-I5 (an id is charged once), inv-I8 (all or nothing, every level);
--       no allow-oom: a full server grants nothing.

local function granted(call, lease)
  return { 'granted', lease.f, call.meta.epoch, lease.g, call.meta.now_ms, TTL_MS }
end

-- The answer for an id that was seen before; nil: it is new.
local function replay(call, id, owner)
  local lease = read_lease(call, id)
  if lease then
    if lease.v == 1 and lease.o == owner then return granted(call, lease) end
    return { 'done' }
  end
  if is_done(call, id) then return { 'done' } end
  return nil
end

local function stopped_on(path)
  for _, step in ipairs(path) do
    if step[2][NODE_STOPPED] == 1 then return { 'Stopped', step[1], 'stop', 0, 0 } end
  end
  return nil
end

-- Of all failing limits the one that opens last; one whose time is unknown yields to one that is known.
local function worse(best, reason, node, limit, used, amount, retry)
  if best and (not retry or best.retry and best.retry >= retry) then return best end
  return { reason, node, limit, used, amount, retry = retry }
end

local function check_node(call, step, amounts, best)
  local name, config, meta = step[1], step[2], call.meta
  local record = node_of(call, name)
  if config[NODE_CONCURRENCY] >= 0 and record.i >= config[NODE_CONCURRENCY] then
    best = worse(best, 'Concurrency', name, 'concurrency', record.i, config[NODE_CONCURRENCY])
  end
  if config[NODE_INTERVAL] > 0 then
    local opens = check_rate(record, config[NODE_INTERVAL], config[NODE_BURST], meta.now_us)
    if opens then
      local retry = math.ceil(opens / 1000) + meta.wall_ms - meta.now_ms
      best = worse(best, 'Rate', name, 'rate', 0, config[NODE_BURST], retry)
    end
  end
  for _, limit in ipairs(config[NODE_LIMITS]) do
    local failing = check_limit(call, record, limit, amounts[limit[LIMIT_RESOURCE]])
    if failing then
      best = worse(best, 'Window', name, limit[LIMIT_NAME], failing.used, limit[LIMIT_AMOUNT], failing.retry)
    end
  end
  return best
end

-- The denial, or nil when every limit of every node has room.
local function check_path(call, path, amounts)
  local best = stopped_on(path)
  if best then return best end
  for _, step in ipairs(path) do best = check_node(call, step, amounts, best) end
  return best
end

local function acquire(KEYS, ARGV)
  local id, owner, leaf, model, generation = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
  local call = open(KEYS)
  local tree = read_tree(call)
  if not tree then return { 'stale', 0 } end
  local epoch = other_epoch(call, ARGV[6])
  if epoch then
    save(call)
    return { 'epoch', epoch }
  end
  reap(call)
  local seen = replay(call, id, owner)
  local path = not seen and generation >= tree[TREE_PATH_GENERATION] and generation <= tree[TREE_GENERATION]
    and resolve_path(call, leaf, model)
  if seen or not path then
    save(call)
    return seen or { 'stale', tree[TREE_GENERATION] }
  end
  local amounts = read_amounts(ARGV, 8)
  -- What expired is written now: the check brings windows up to the clock, and a denial must not keep that.
  save_nodes(call)
  local denial = check_path(call, path, amounts)
  if denial then
    save_meta(call)
    return { 'denied', denial[1], denial[2], denial[3], int(denial[4]), int(denial[5]), denial.retry or -1, call.meta.wall_ms }
  end
  local meta = call.meta
  meta.fence = meta.fence + 1
  local lease = { o = owner, f = meta.fence, s = meta.fence, g = meta.now_ms, w = meta.wall_ms, m = tonumber(ARGV[7]),
    q = 0, v = 1, x = 0, n = take_path(call, path, amounts, false) }
  write_lease(call, id, lease)
  extend(call, id)
  note_owner(call, owner, 1)
  save(call)
  return granted(call, lease)
end

register('acquire', acquire, {})
