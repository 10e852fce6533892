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

local META_FIELDS = { 'epoch', 'identity', 'wall', 'now', 'fence', 'steps', 'gapFrom', 'noReapUntil', 'massFrom' }

local function advance_clock(meta, wall_us, fresh)
  local behind = meta.wall_us - wall_us
  if behind > STEP_MS * 1000 then meta.steps = meta.steps + 1 end
  if behind < 0 then meta.now_us = meta.now_us - behind end
  meta.wall_us, meta.wall_ms = wall_us, math.floor(wall_us / 1000)
  local last_ms = meta.now_ms
  meta.now_ms = math.floor(meta.now_us / 1000)
  -- Gap guard (rule T3): while the server stood still nobody could beat. Only leases that were alive before the
  -- gap wait; one that had expired already is reaped at once.
  if not fresh and meta.now_ms - last_ms > 1.5 * BEAT_MS then
    if meta.now_ms >= meta.no_reap_until then meta.gap_from = last_ms end
    meta.no_reap_until = meta.now_ms + BEAT_MS
  end
end

-- Opens a call: reads the clock once and the meta record. Writes nothing.
local function open(KEYS)
  bind()
  local keys = keys_of(KEYS)
  local wall_us = read_clock_us(keys)
  local stored = redis.call('HMGET', keys.meta, unpack(META_FIELDS))
  local identity = server_identity(keys, wall_us)
  local fresh = not stored[1]
  local meta = {
    -- A tree that starts from nothing must not repeat an epoch or a fence it had before its memory was lost.
    epoch = tonumber(stored[1]) or math.floor(wall_us / 1000),
    identity = stored[2] or identity,
    wall_us = tonumber(stored[3]) or wall_us,
    now_us = tonumber(stored[4]) or wall_us,
    fence = tonumber(stored[5]) or wall_us,
    steps = tonumber(stored[6]) or 0,
    gap_from = tonumber(stored[7]) or 0,
    no_reap_until = tonumber(stored[8]) or 0,
    mass_from = tonumber(stored[9]) or 0,
  }
  meta.now_ms = math.floor(meta.now_us / 1000)
  advance_clock(meta, wall_us, fresh)
  if meta.identity ~= identity then
    meta.identity = identity
    meta.epoch = math.max(meta.epoch + 1, meta.wall_ms)
  end
  return { keys = keys, meta = meta, nodes = {}, dirty = {} }
end

local function save_meta(call)
  local m = call.meta
  redis.call('HSET', call.keys.meta, 'epoch', int(m.epoch), 'identity', m.identity, 'wall', int(m.wall_us),
    'now', int(m.now_us), 'fence', int(m.fence), 'steps', int(m.steps), 'gapFrom', int(m.gap_from),
    'noReapUntil', int(m.no_reap_until), 'massFrom', int(m.mass_from))
end

-- The epoch to answer when the caller knows another one, else nil. A caller ahead of us has seen a memory that was
-- lost since: everybody must look again.
local function other_epoch(call, known)
  local epoch = tonumber(known)
  if not epoch or epoch == call.meta.epoch then return nil end
  if epoch > call.meta.epoch and epoch < MAX_AMOUNT / 2 then call.meta.epoch = epoch + 1 end
  return call.meta.epoch
end

-- Node records of this call, read once, written together. A record: { i = in flight, tat, rt, rn, rl, w = { key = window } }.
local function load_nodes(call, names)
  local missing = {}
  for _, name in ipairs(names) do
    if not call.nodes[name] then missing[#missing + 1] = name end
  end
  if #missing == 0 then return end
  local records = redis.call('HMGET', call.keys.nodes, unpack(missing))
  for index, name in ipairs(missing) do
    call.nodes[name] = records[index] and unpack_record(records[index]) or { i = 0, w = {} }
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
    fields[#fields + 1] = pack(call.nodes[name])
    if #fields >= 1000 then
      redis.call('HSET', call.keys.nodes, unpack(fields))
      fields = {}
    end
  end
  if #fields > 0 then redis.call('HSET', call.keys.nodes, unpack(fields)) end
end

local function save(call)
  save_nodes(call)
  save_meta(call)
end

-- The tree's own config record: { namespace, name, uid, leaseCreatedMs, transitions, generation, hash, pathGeneration, names }.
local function read_tree(call)
  local packed = redis.call('HGET', call.keys.config, 't')
  if not packed then return nil end
  return unpack_record(packed)
end

local function require_tree(call)
  local tree = read_tree(call)
  if not tree then error({ err = 'NOTREE this tree is not configured' }) end
  return tree
end
