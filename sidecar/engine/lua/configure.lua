-- configure: replaces a tree's configuration, if the writer is not older than the last one.
--
-- KEYS  as in keys.ts, and the config record
-- ARGV  namespace, name, uid, lease created ms, transitions, generation, hash, the tree as text (kept, not read),
--       count of calendars, for each: name, its boundaries as 14-digit numbers in one string,
--       count of nodes, for each: name, length of its path, the path leaf first (itself included), concurrency (-1 =
--       none), interval µs (0 = no rate), burst, stopped 0|1, count of limits, for each: name, resource index, amount,
--       kind (A|P|C|S), key, span (duration ms, or a calendar's name), owner node, owner's key
-- reply { 'applied', generation } | { 'fenced', lease created ms, transitions, generation } | { 'conflict', namespace, name }
-- keeps windows that run (rule W4): counters belong to a node's name and a window's key, not to a revision.
--       Its first write goes to the config record, which a sidecar's user may not write (rule W5).

-- Reads ARGV one by one.
local function reader(ARGV)
  local position = 0
  local function text()
    position = position + 1
    return ARGV[position]
  end
  return text, function() return tonumber(text()) end
end

local function read_limit(text, number)
  local name, resource, amount, kind, key, span = text(), number(), number(), text(), text(), text()
  if kind ~= 'C' then span = tonumber(span) end
  return { name, resource, amount, kind, key, span, text(), text() }
end

local function read_node(text, number)
  local name, path, limits = text(), {}, {}
  for index = 1, number() do path[index] = text() end
  local config = { path, number(), number(), number(), number(), limits }
  for index = 1, number() do limits[index] = read_limit(text, number) end
  return name, config
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

local function total_of(window)
  if not is_period(window) then return window.u + window.r end
  local total = 0
  each_period(window, function(period) total = math.max(total, period.u + period.r) end)
  return total
end

local function open_now(call, window, used)
  local wall = call.meta.wall_ms
  local period = new_period(window, wall, window.f, window.e)
  period.u, period.k, period.lo, period.hi, period.sl, period.hf = used, 1, wall, wall, wall, call.meta.fence
  window.c = period
end

-- Makes a window start with at least `used`.
local function seed(call, record, limit, used)
  local window, timeline = window_for(call, record, limit)
  window.m = limit[LIMIT_AMOUNT]
  if not is_period(window) then
    if used > window.u + window.r then land(window, used - window.u - window.r, call.meta.now_ms) end
    return
  end
  if not timeline then
    timeline = new_window({ limit[1], limit[2], limit[3], 'A', limit[LIMIT_OWNER_KEY], limit[LIMIT_SPAN] })
    touch(call, window.o).w[window.k] = timeline
  end
  if not timeline.c then open_now(call, timeline, 0) end
  if timeline ~= window then
    touch(call, window.o)
    follow_owner(window, timeline)
  end
  each_period(window, function(period)
    period.u = math.max(period.u, used - period.r)
    if not period.k then return end
    period.k = period.k + 1
    local start = math.max(call.meta.wall_ms, period.fl)
    period.lo, period.sl = period.lo or start, period.sl or start
    period.sf = math.max(period.sf or 0, call.meta.wall_ms)
  end)
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
  rescale_rate(record, config[NODE_INTERVAL], call.meta.now_us)
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

local function in_chunks(items, size, visit)
  for first = 1, #items, size do visit(unpack(items, first, math.min(first + size - 1, #items))) end
end

-- Whether any call may be counted on other nodes than before.
local function paths_differ(old, nodes, order)
  local before = 0
  for field, packed in pairs(old) do
    if string.sub(field, 1, 2) == 'n:' then
      before = before + 1
      local node = nodes[string.sub(field, 3)]
      if not node or table.concat(unpack_record(packed)[NODE_PATH], '\n') ~= table.concat(node[NODE_PATH], '\n') then
        return true
      end
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
  local kept, gone = {}, {}
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
  local call = open(KEYS)
  local tree = read_tree(call)
  local refused = refusal(tree, account, revision, hash)
  if refused then return refused end

  local fields, nodes, order = {}, {}, {}
  for _ = 1, number() do
    fields[#fields + 1], fields[#fields + 2] = 'b:' .. text(), text()
  end
  for index = 1, number() do
    local name, config = read_node(text, number)
    nodes[name], order[index] = config, name
    fields[#fields + 1], fields[#fields + 2] = 'n:' .. name, pack(config)
  end
  local old = read_old(call)
  local same_leader = tree and tree[4] == revision[1] and tree[5] == revision[2]
  local path_generation = revision[3]
  if same_leader and not paths_differ(old, nodes, order) then path_generation = tree[TREE_PATH_GENERATION] end
  fields[#fields + 1], fields[#fields + 2] = 'o', pack(order)
  fields[#fields + 1], fields[#fields + 2] = 'j', as_text
  fields[#fields + 1], fields[#fields + 2] = 't', pack({ account[1], account[2], account[3], revision[1], revision[2],
    revision[3], hash, path_generation })
  write_config(call, old, fields)

  for _, name in ipairs(order) do
    local packed = old['n:' .. name]
    if packed ~= pack(nodes[name]) then adopt_node(call, name, nodes[name], packed) end
  end
  local buried = bury_nodes(call, nodes)
  save(call)
  in_chunks(buried, 1000, function(...) redis.call('HDEL', call.keys.nodes, ...) end)
  return { 'applied', revision[3] }
end

register('configure', configure, {})
