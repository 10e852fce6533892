-- Prelude: keys, clock, server identity and the tree's meta record. Shared by every operation.
--
-- Every function takes KEYS in the order of keys.ts: see keys_of.
-- The config record is read beside them without being declared: declared keys of FCALL need write permission,
-- and a sidecar's user may only read this one (rule W5). It has the same hash tag, hence the same slot.
--
-- Times: *_us and *_ms are integers. `wall` is the server's clock; `now` is logical time, which never goes back
-- (rule T1). Counters never pass through `..` or cjson, which turn 1e14 into exponent form (rule L2).

local function int(number)
  return string.format('%.0f', number)
end

local function saturate(amount)
  if amount > MAX_AMOUNT then return MAX_AMOUNT end
  if amount < 0 then return 0 end
  return amount
end

-- A call of Lua takes some thousand values at most.
local function in_chunks(items, size, visit)
  for first = 1, #items, size do visit(unpack(items, first, math.min(first + size - 1, #items))) end
end

local function keys_of(KEYS)
  return {
    meta = KEYS[1], nodes = KEYS[2], leases = KEYS[3], expiries = KEYS[4],
    late = KEYS[5], done = KEYS[6], owners = KEYS[7],
    waiters = KEYS[8],   -- hash: id → waiter, N:id → denial to tell, P:owner place → kept place, T: see turns.lua
    patience = KEYS[9],  -- zset: the same fields → when they end
    order = KEYS[10],    -- zset (lex): sub-queue, round, seq, id
    flows = KEYS[11],    -- hash: F:flow, S:sub-queue, B:bottleneck
    runnable = KEYS[12], -- zset: birth and flow → tag
    heads = KEYS[13],    -- zset (lex): flow, round, seq, sub-queue of what may be dispatched
    parked = KEYS[14],   -- zset (lex): see lines.lua
    timers = KEYS[15],   -- zset: bottleneck → when to look again
    holds = KEYS[16],    -- zset: settled lease → when its slots come free
    ledger = KEYS[17],   -- stream
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

-- The meta record. Numbers in this order, then the server's identity:
--   epoch; wall_us, now_us (clocks); fence; steps = clock steps seen; gap_from, no_reap_until, mass_from = guards of expiry;
--   seq = births and places in the queue; vtime = virtual time; waiting, waiting_system = waiters; last_system = 1: the
--   last grant was of class System; hold_ms, held_at = releaseHold and when it changed; learn_until, learn_all = 1: to
--   its end; draining = processes that get nothing new; guarded = 1: somebody is kept free (guard.lua); entries = of
--   the ledger; runnable_others = flows below class System that may be dispatched; bytes, denied_s, unlogged, skipped: see
--   ledger.lua.
local META_FIELDS = { 'epoch', 'wall_us', 'now_us', 'fence', 'steps', 'gap_from', 'no_reap_until', 'mass_from', 'seq',
  'vtime', 'waiting', 'waiting_system', 'last_system', 'hold_ms', 'held_at', 'learn_until', 'learn_all', 'draining',
  'guarded', 'entries', 'runnable_others', 'bytes', 'denied_s', 'unlogged', 'skipped' }
local META_COUNT = #META_FIELDS
-- Its field: another one for each form of any record, as ENGINE_VERSION is. Field `state` is where the forms before this one
-- stood; it holds a mark that is too short for them, so that their code leaves the tree alone as well.
local STATE, NOT_YOURS = 'state3', '3'
local META_FORMAT = '<ddddddddddddddddddddddddds' -- 25 numbers

local function decode_meta(text)
  local values, meta = { struct.unpack(META_FORMAT, text) }, {}
  for index = 1, META_COUNT do meta[META_FIELDS[index]] = values[index] end
  meta.identity = values[META_COUNT + 1]
  return meta
end

local function encode_meta(meta)
  local values = {}
  for index = 1, META_COUNT do values[index] = meta[META_FIELDS[index]] end
  values[META_COUNT + 1] = meta.identity
  return struct.pack(META_FORMAT, unpack(values))
end

-- A tree that starts from nothing must not repeat an epoch or a fence it had before its memory was lost.
local function first_meta(wall_us, identity)
  local meta = { identity = identity }
  for index = 1, META_COUNT do meta[META_FIELDS[index]] = 0 end
  meta.epoch, meta.wall_us, meta.now_us, meta.fence = math.floor(wall_us / 1000), wall_us, wall_us, wall_us
  return meta
end

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
    meta.gap_from = last_ms
    meta.no_reap_until = meta.now_ms + SILENT_MS
  end
end

-- Grants wait until the owners of what may be forgotten have told what they run (rule T7).
local function begin_learning(meta)
  meta.learn_until, meta.learn_all = meta.now_ms + TTL_MS + BEAT_MS, 0
end

-- Whether the tree may go from the server it was on to this one as it is: the operator has declared the move (govern.lua),
-- naming both as they were then. A server that started anew, or took over from its master, is another one.
local function is_planned(keys, meta, identity)
  local text = redis.call('HGET', keys.config, 'm')
  if not text then return false end
  local plan, from, to = unpack_record(text), false, false
  for _, each in ipairs(plan[2]) do from, to = from or each == meta.identity, to or each == identity end
  return from and to and meta.wall_ms < plan[1]
end

-- The call that is at work, for the ledger.
local current

-- Opens a call: reads the clock once and the meta record. Writes nothing.
local function open(KEYS)
  bind()
  local keys = keys_of(KEYS)
  local wall_us = read_clock_us(keys)
  local stored = redis.call('HGET', keys.meta, STATE)
  -- Records of another form: nobody may read them as ours; `configure` begins anew.
  local outdated = not stored and redis.call('HEXISTS', keys.meta, 'state') == 1
  local identity = server_identity(keys, wall_us)
  local meta = stored and decode_meta(stored) or first_meta(wall_us, identity)
  local call = { keys = keys, meta = meta, nodes = {}, dirty = {}, texts = {}, marks = {}, fresh = not stored, outdated = outdated,
    was = stored, epoch_was = stored and meta.epoch, wall_was = meta.wall_us }
  meta.now_ms = math.floor(meta.now_us / 1000)
  advance_clock(meta, wall_us, not stored)
  if meta.identity ~= identity then
    if not is_planned(keys, meta, identity) then
      meta.epoch = math.max(meta.epoch + 1, meta.wall_ms)
      begin_learning(meta)
    end
    meta.identity = identity
  end
  current = call
  return call
end

-- Written once, when the ledger has counted the call's entry in it (ledger.lua).
local function save_meta(call)
  call.saves_meta = true
end

-- The epoch to answer when the caller knows another one, else nil. A caller ahead of us has seen a memory that was
-- lost since: everybody must look again.
local function other_epoch(call, known)
  local epoch = tonumber(known)
  if not epoch or epoch == call.meta.epoch then return nil end
  if epoch > call.meta.epoch and epoch < MAX_AMOUNT / 2 then
    call.meta.epoch = epoch + 1
    begin_learning(call.meta)
  end
  return call.meta.epoch
end

-- Node records as they were written last, decoded, by key and name. A record leaves the table while a call works on it
-- and returns only with the text it was written as, so what a failed call changed is never seen again.
local written, written_count = {}, 0
local MAX_WRITTEN = 4096

local function remember_node(place, text, record)
  if not written[place] then written_count = written_count + 1 end
  if written_count > MAX_WRITTEN then written, written_count = {}, 1 end
  written[place] = { text, record }
end

local function node_from(call, name, text)
  local place = call.keys.nodes .. name
  local entry = written[place]
  if not entry or entry[1] ~= text then return decode_node(text) end
  written[place], written_count = nil, written_count - 1
  return entry[2]
end

-- Node records of this call, read once, written together.
local function load_nodes(call, names)
  local missing = {}
  for _, name in ipairs(names) do
    if not call.nodes[name] then missing[#missing + 1] = name end
  end
  if #missing == 0 then return end
  local texts = redis.call('HMGET', call.keys.nodes, unpack(missing))
  for index, name in ipairs(missing) do
    local text = texts[index]
    call.texts[name] = text
    call.nodes[name] = text and node_from(call, name, text) or { i = 0, z = 0, y = 0, a = false, w = {} }
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

-- What a check learnt about a node is kept although the call takes nothing there; its windows stay as they were, for
-- bringing them up to a clock that goes back later must not last.
local function marked_record(call, name)
  local text = call.texts[name]
  local record = text and decode_node(text) or { i = 0, z = 0, y = 0, a = false, w = {} }
  record.a = call.nodes[name].a
  return record
end

-- `last`: nothing of this call may change a node after it.
local function save_nodes(call, last)
  local fields = {}
  local function add(name, record)
    local text = encode_node(record)
    fields[#fields + 1], fields[#fields + 2] = name, text
    if last then remember_node(call.keys.nodes .. name, text, record) end
    call.texts[name] = text
    if #fields >= 1000 then
      redis.call('HSET', call.keys.nodes, unpack(fields))
      fields = {}
    end
  end
  for name in pairs(call.dirty) do add(name, call.nodes[name]) end
  for name in pairs(call.marks) do
    if not call.dirty[name] then add(name, marked_record(call, name)) end
  end
  if #fields > 0 then
    redis.call('HSET', call.keys.nodes, unpack(fields))
    call.changed = true
  end
  call.dirty, call.marks = {}, {}
end

local function save(call)
  save_nodes(call, true)
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

local function config_of(call, name)
  return call.config[name] or node_configs(call, { name })[1]
end

local function require_tree(call)
  local tree = not call.outdated and read_tree(call)
  if not tree then error({ err = 'NOTREE this tree is not configured' }) end
  return tree
end
