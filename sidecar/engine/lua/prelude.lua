-- Prelude: keys, clock, server identity and the tree's meta record. Shared by every operation.
--
-- Every function takes KEYS in the order of keys.ts: meta, nodes, leases, expiries, expired (late), done, owners.
-- The config record is read beside them without being declared: declared keys of FCALL need write permission,
-- and a sidecar's user may only read this one (rule W5). It has the same hash tag, hence the same slot.
--
-- Times: *_us and *_ms are integers. `wall` is the server's clock; `now` is logical time, which never goes back
-- (rule T1). Counters never pass through `..` or cjson, which turn 1e14 into exponent form (rule L2).

local pack, unpack_record

-- At load time `redis.call` and cmsgpack do not exist yet.
local function bind()
  if not pack then
    pack, unpack_record = cmsgpack.pack, cmsgpack.unpack
  end
end

local function int(number)
  return string.format('%.0f', number)
end

local function saturate(amount)
  if amount > MAX_AMOUNT then return MAX_AMOUNT end
  if amount < 0 then return 0 end
  return amount
end

local function keys_of(KEYS)
  return {
    meta = KEYS[1], nodes = KEYS[2], leases = KEYS[3], expiries = KEYS[4],
    late = KEYS[5], done = KEYS[6], owners = KEYS[7],
    config = string.sub(KEYS[1], 1, -2) .. 'c',
  }
end

-- Which server this is (rule W2). run_id is new with every start of the process; the replication id changes when
-- another server took over in between. Reading both costs more than the rest of a call, hence once a second.
local known_identity, identity_read_us

local function server_identity(keys, wall_us)
  local injected = injected_identity(keys)
  if injected then return injected end
  if known_identity and wall_us >= identity_read_us and wall_us - identity_read_us < 1000000 then
    return known_identity
  end
  local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)') or '-'
  local replication = string.match(redis.call('INFO', 'replication'), 'master_replid:(%w+)') or '-'
  known_identity, identity_read_us = run .. '/' .. replication, wall_us
  return known_identity
end

-- The meta record: epoch, wall µs, logical µs, last fence, clock steps seen, guards of expiry, identity of the server.
local META_FORMAT = '<dddddddds'

local function advance_clock(meta, wall_us, fresh)
  local behind = meta.wall_us - wall_us
  if behind > STEP_MS * 1000 then meta.steps = meta.steps + 1 end
  if behind < 0 then meta.now_us = meta.now_us - behind end
  meta.wall_us, meta.wall_ms = wall_us, math.floor(wall_us / 1000)
  local last_ms = meta.now_ms
  meta.now_ms = math.floor(meta.now_us / 1000)
  -- Gap guard (rule T3): while the server stood still nobody could beat. Only leases that were alive before the
  -- gap wait, until every owner's next beat is in; one that had expired already is reaped at once.
  if not fresh and meta.now_ms - last_ms > SILENT_MS then
    if meta.now_ms >= meta.no_reap_until then meta.gap_from = last_ms end
    meta.no_reap_until = meta.now_ms + SILENT_MS
  end
end

-- Opens a call: reads the clock once and the meta record. Writes nothing.
local function open(KEYS)
  bind()
  local keys = keys_of(KEYS)
  local wall_us = read_clock_us(keys)
  local stored = redis.call('HGET', keys.meta, 'state')
  local identity = server_identity(keys, wall_us)
  local meta
  if stored then
    meta = {}
    meta.epoch, meta.wall_us, meta.now_us, meta.fence, meta.steps, meta.gap_from, meta.no_reap_until, meta.mass_from,
      meta.identity = struct.unpack(META_FORMAT, stored)
  else
    -- A tree that starts from nothing must not repeat an epoch or a fence it had before its memory was lost.
    meta = { epoch = math.floor(wall_us / 1000), wall_us = wall_us, now_us = wall_us, fence = wall_us, steps = 0,
      gap_from = 0, no_reap_until = 0, mass_from = 0, identity = identity }
  end
  meta.now_ms = math.floor(meta.now_us / 1000)
  advance_clock(meta, wall_us, not stored)
  if meta.identity ~= identity then
    meta.identity = identity
    meta.epoch = math.max(meta.epoch + 1, meta.wall_ms)
  end
  return { keys = keys, meta = meta, nodes = {}, dirty = {} }
end

local function save_meta(call)
  local m = call.meta
  redis.call('HSET', call.keys.meta, 'state', struct.pack(META_FORMAT, m.epoch, m.wall_us, m.now_us, m.fence, m.steps,
    m.gap_from, m.no_reap_until, m.mass_from, m.identity))
end

-- The epoch to answer when the caller knows another one, else nil. A caller ahead of us has seen a memory that was
-- lost since: everybody must look again.
local function other_epoch(call, known)
  local epoch = tonumber(known)
  if not epoch or epoch == call.meta.epoch then return nil end
  if epoch > call.meta.epoch and epoch < MAX_AMOUNT / 2 then call.meta.epoch = epoch + 1 end
  return call.meta.epoch
end

-- Node records of this call, read once, written together.
local function load_nodes(call, names)
  local missing = {}
  for _, name in ipairs(names) do
    if not call.nodes[name] then missing[#missing + 1] = name end
  end
  if #missing == 0 then return end
  local records = redis.call('HMGET', call.keys.nodes, unpack(missing))
  for index, name in ipairs(missing) do
    call.nodes[name] = records[index] and decode_node(records[index]) or { i = 0, w = {} }
  end
end

local function node_of(call, name)
  if not call.nodes[name] then load_nodes(call, { name }) end
  return call.nodes[name]
end

local function touch(call, name)
  call.dirty[name] = true
  return node_of(call, name)
end

local function save_nodes(call)
  local fields = {}
  for name in pairs(call.dirty) do
    fields[#fields + 1] = name
    fields[#fields + 1] = encode_node(call.nodes[name])
    if #fields >= 1000 then
      redis.call('HSET', call.keys.nodes, unpack(fields))
      fields = {}
    end
  end
  if #fields > 0 then redis.call('HSET', call.keys.nodes, unpack(fields)) end
  call.dirty = {}
end

local function save(call)
  save_nodes(call)
  save_meta(call)
end

-- Decoded configuration, by config key. `configure` gives each state of a tree its own head (it holds revision and
-- hash), so an equal head means equal content; decoding it anew would cost more than the rest of a call.
local decoded, decoded_count = {}, 0
local MAX_DECODED = 32

-- The head of the tree's config: { namespace, name, uid, leaseCreatedMs, transitions, generation, hash, pathGeneration }.
local function read_tree(call)
  local head = redis.call('HGET', call.keys.config, 't')
  if not head then return nil end
  local entry = decoded[call.keys.config]
  if not entry or entry.head ~= head then
    if not entry then decoded_count = decoded_count + 1 end
    if decoded_count > MAX_DECODED then decoded, decoded_count = {}, 1 end
    entry = { head = head, tree = unpack_record(head), nodes = {}, paths = {} }
    decoded[call.keys.config] = entry
  end
  call.config, call.paths = entry.nodes, entry.paths
  return entry.tree
end

-- Configs of the named nodes; false where there is none. After `read_tree`.
local function node_configs(call, names)
  local fields, configs = {}, {}
  for _, name in ipairs(names) do
    if not call.config[name] then fields[#fields + 1] = 'n:' .. name end
  end
  if #fields > 0 then
    for index, packed in ipairs(redis.call('HMGET', call.keys.config, unpack(fields))) do
      -- Only what exists is kept: callers may name models without end.
      if packed then call.config[string.sub(fields[index], 3)] = unpack_record(packed) end
    end
  end
  for index, name in ipairs(names) do configs[index] = call.config[name] or false end
  return configs
end

local function require_tree(call)
  local tree = read_tree(call)
  if not tree then error({ err = 'NOTREE this tree is not configured' }) end
  return tree
end
