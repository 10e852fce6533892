-- configure: replaces a tree's configuration, if the writer is not older than the last one.
--
-- KEYS  as in keys.ts, and the config record
-- ARGV  namespace, name, uid, lease created ms, transitions, generation, hash, the tree as text (kept, not read), what
--       was lost: 0 = nothing known, 1 = this tree had a memory; count of remembered uses, for each: node, limit, used,
--       latest and earliest wall ms at which its window opened (-1 = not known); count of remembered nodes, for each: name,
--       wall ms at which its rate is as if never used (-1 = it is), learnt concurrency (-1 = none);
--       count of calendars, for each: name, its boundaries as 14-digit numbers in one string,
--       count of nodes, for each: name, length of its path, the path leaf first (itself included), concurrency (-1 =
--       none), interval µs (0 = no rate), burst, adaptive min (-1 = fixed), start, weight, class index, observe 0|1, most
--       waiters (-1 = any), breaker: failure percent (-1 = none), calls, open ms;
--       count of stops, for each: name, from, until (-1 = open), the excepted classes as digits; count of per-call
--       limits, for each: resource index, most, resource; count of thresholds, those; scope 0|1, if 1: seven times the
--       count of values and those, unset matches 0|1; count of limits, for each: name, resource index, amount, kind
--       (A|P|C|F|S), key, span (duration ms, or a calendar's name), owner node, owner's key, guaranteed (-1 = none),
--       guarantor, its key
-- reply { 'applied', generation } | { 'fenced', lease created ms, transitions, generation } | { 'conflict', namespace, name }
-- keeps windows that run (rule W4): counters belong to a node's name and a window's key, not to a revision.
--       Its first write goes to the config record, which a sidecar's user may not write (rule W5).

-- Claims of guarantees anew: promises, parents and windows may have changed.
local function recount_guarantees(call, nodes, order)
  local any = false
  for _, name in ipairs(order) do any = any or nodes[name][NODE_GUARANTEED] end
  if not any and not redis.call('HGET', call.keys.meta, 'guaranteed') then return end
  if any then redis.call('HSET', call.keys.meta, 'guaranteed', 1) else redis.call('HDEL', call.keys.meta, 'guaranteed') end
  for _, name in ipairs(order) do
    for _, window in pairs(touch(call, name).w) do
      if window.t ~= 'S' then
        window.cr, window.gr = 0, 0
        each_share(window, function(share) share.cl, share.gc = 0, 0 end)
      end
    end
  end
  for _, name in ipairs(order) do
    for _, limit in ipairs(nodes[name][NODE_LIMITS]) do
      if node_of(call, name).w[limit[LIMIT_KEY]] then window_for(call, node_of(call, name), limit) end
    end
    sync_guarantees(call, name)
  end
end

local function is_older(a, b)
  for index = 1, 3 do
    if a[index] ~= b[index] then return a[index] < b[index] end
  end
  return false
end

-- The reply that refuses this writer; nil: it may write.
local function refusal(tree, account, revision, hash)
  if not tree then return nil end
  if tree[1] ~= account[1] or tree[2] ~= account[2] then return { 'conflict', tree[1], tree[2] } end
  local stored = { tree[4], tree[5], tree[6] }
  local same = stored[1] == revision[1] and stored[2] == revision[2] and stored[3] == revision[3]
  if is_older(revision, stored) or same and hash ~= tree[7] then
    return { 'fenced', stored[1], stored[2], stored[3] }
  end
  return nil
end

local function limits_of(config)
  local limits = { names = {}, keys = {} }
  for _, limit in ipairs(config[NODE_LIMITS]) do
    limits.names[limit[LIMIT_NAME]], limits.keys[limit[LIMIT_KEY]] = true, true
  end
  return limits
end

-- What a new limit inherits: the largest used fraction of the windows it may have been before. Such a window was
-- configured until now and is no longer, and has the same name, or all else the same (rule W4). Windows whose limit
-- went earlier have passed on theirs already. `before` nil: the node had no configuration, any of its windows may be it.
local function inherited_use(call, record, limit, before, configured)
  local name, tail = limit[LIMIT_NAME], string.match(limit[LIMIT_KEY], '|.*$')
  local most = 0
  if before and before.keys[limit[LIMIT_KEY]] then return most end
  for key, window in pairs(record.w) do
    local old_name = string.match(key, '^[^|]*')
    local renamed = not configured.names[old_name] and string.match(key, '|.*$') == tail
    local replaced = not configured.keys[key] and (not before or before.keys[key])
    if window.m and replaced and (old_name == name or renamed) then
      roll(call, window)
      local total, amount = total_of(window), limit[LIMIT_AMOUNT]
      local used = total
      if total > 0 and window.m == 0 then
        used = amount
      elseif total > 0 and window.m ~= amount then
        used = saturate(math.ceil(total / window.m * amount))
      end
      most = math.max(most, used)
    end
  end
  return most
end

local function has_ended(call, window)
  roll(call, window)
  if is_period(window) then return not window.c end
  return window.u == 0 and window.r == 0
end

local function forget_ended(call, record, configured_keys)
  local kept, left = {}, false
  for key, window in pairs(record.w) do
    if configured_keys[key] or not has_ended(call, window) then kept[key], left = window, true end
  end
  record.w = kept
  return left
end

-- An adaptive limit stays within its new bounds; what a node may no longer learn is forgotten.
local function rebound(config, record)
  local a = record.a
  if not a then return end
  if a.c and config[NODE_MIN] < 0 then
    for _, field in ipairs({ 'c', 'ch', 'P', 'sat', 'pr', 'de', 'hr', 'ce', 'lm', 'la' }) do a[field] = nil end
  elseif a.c then
    a.c = clamp(a.c, config[NODE_MIN], config[NODE_CONCURRENCY])
  end
  if not config[NODE_BREAKER] then
    for _, field in ipairs({ 'bc', 'bf', 'bs', 'bo', 'bp' }) do a[field] = nil end
  end
  if not next(a) then record.a = false end
end

local function rescale_rate(record, interval, now_us)
  if interval == 0 or not record.tat or record.rt == interval then return end
  if record.tat > now_us then
    record.tat = now_us + math.ceil((record.tat - now_us) / record.rt * interval)
  end
  record.rt = interval
end

-- `old`: the node's configuration until now, packed; nil if it had none.
local function adopt_node(call, name, config, old)
  local record = touch(call, name)
  local before, configured = old and limits_of(unpack_record(old)), limits_of(config)
  rescale_rate(record, interval_of(call, config, record), call.meta.now_us)
  rebound(config, record)
  local seeds = {}
  for _, limit in ipairs(config[NODE_LIMITS]) do
    if record.w[limit[LIMIT_KEY]] then record.w[limit[LIMIT_KEY]].m = limit[LIMIT_AMOUNT] end
    seeds[#seeds + 1] = { limit, inherited_use(call, record, limit, before, configured) }
  end
  for _, each in ipairs(seeds) do
    if each[2] > 0 then seed(call, record, each[1], each[2]) end
  end
  forget_ended(call, record, configured.keys)
end

-- Nodes that are configured no longer stay while they hold leases or run windows.
local function bury_nodes(call, nodes)
  local buried = {}
  for _, name in ipairs(redis.call('HKEYS', call.keys.nodes)) do
    if not nodes[name] then
      local record = touch(call, name)
      local running = forget_ended(call, record, {})
      if record.i == 0 and not running and (record.tat or 0) <= call.meta.now_us then
        buried[#buried + 1] = name
        call.dirty[name] = nil
      end
    end
  end
  return buried
end

local function path_text(config)
  return table.concat(config[NODE_PATH], '\n')
end

local function route_text(config)
  return path_text(config) .. '\0' .. pack(config[NODE_SCOPE])
end

-- Whether the nodes are others than before, or what `text` says of one.
local function nodes_differ(old, nodes, order, text)
  local before = 0
  for field, packed in pairs(old) do
    if string.sub(field, 1, 2) == 'n:' then
      before = before + 1
      local node = nodes[string.sub(field, 3)]
      if not node or text(unpack_record(packed)) ~= text(node) then return true end
    end
  end
  return before ~= #order
end

local function read_old(call)
  local flat, old = redis.call('HGETALL', call.keys.config), {}
  for index = 1, #flat, 2 do old[flat[index]] = flat[index + 1] end
  return old
end

local function write_config(call, old, fields)
  -- A declared move outlives revisions.
  local kept, gone = { m = true }, {}
  for index = 1, #fields, 2 do kept[fields[index]] = true end
  for field in pairs(old) do
    if not kept[field] then gone[#gone + 1] = field end
  end
  in_chunks(fields, 1000, function(...) redis.call('HSET', call.keys.config, ...) end)
  in_chunks(gone, 1000, function(...) redis.call('HDEL', call.keys.config, ...) end)
end

local function configure(KEYS, ARGV)
  local text, number = reader(ARGV)
  local account, revision = { text(), text(), text() }, { number(), number(), number() }
  local hash, as_text = text(), text()
  local lost, remembered = number() == 1, read_list(text, number, function()
    return { text(), text(), number(), number(), number() }
  end)
  local learnt_nodes = read_list(text, number, function() return { text(), number(), number() } end)
  local call = open(KEYS)
  local tree = read_tree(call)
  local refused = refusal(tree, account, revision, hash)
  if refused then return refused end
  if call.outdated then redis.call('DEL', unpack(KEYS, 1, #KEYS - 1)) end
  if (lost or call.outdated) and call.fresh then
    call.meta.learn_until, call.meta.learn_all = call.meta.now_ms + TTL_MS + BEAT_MS, 1
  end
  begin(call)

  local fields, nodes, order = {}, {}, {}
  for _ = 1, number() do
    fields[#fields + 1], fields[#fields + 2] = 'b:' .. text(), text()
  end
  for index = 1, number() do
    local name, config = read_node(text, number)
    nodes[name], order[index] = config, name
  end
  link_nodes(nodes, order)
  for _, name in ipairs(order) do fields[#fields + 1], fields[#fields + 2] = 'n:' .. name, pack(nodes[name]) end
  local old = read_old(call)
  local same_leader = tree and tree[4] == revision[1] and tree[5] == revision[2]
  local path_generation = revision[3]
  if same_leader and not nodes_differ(old, nodes, order, path_text) then path_generation = tree[TREE_PATH_GENERATION] end
  fields[#fields + 1], fields[#fields + 2] = 'o', pack(order)
  fields[#fields + 1], fields[#fields + 2] = 'j', as_text
  fields[#fields + 1], fields[#fields + 2] = 't', pack({ account[1], account[2], account[3], revision[1], revision[2],
    revision[3], hash, path_generation })
  write_config(call, old, fields)
  -- What was decoded may be what somebody else had written beneath the same head.
  if decoded[call.keys.config] then decoded[call.keys.config].head = nil end
  read_tree(call)

  for _, name in ipairs(order) do
    local packed = old['n:' .. name]
    if packed ~= pack(nodes[name]) then adopt_node(call, name, nodes[name], packed) end
  end
  remember_uses(call, nodes, remembered)
  remember_nodes(call, nodes, learnt_nodes)
  call.checkpoint = call.fresh and #remembered + #learnt_nodes > 0
  recount_guarantees(call, nodes, order)
  if call.meta.waiting > 0 and nodes_differ(old, nodes, order, route_text) then
    queue.release_all(call)
  else
    queue.wake_all(call)
  end
  conclude(call)
  local buried = bury_nodes(call, nodes)
  save(call)
  in_chunks(buried, 1000, function(...) redis.call('HDEL', call.keys.nodes, ...) end)
  return { 'applied', revision[3] }
end

register('configure', configure, {})
