-- The ledger (rule L1): what was asked of a tree and what it said, in the order in which it happened. One entry for every
-- call that may have changed the tree, written in the same step as the change. Calls are replayed from it (../ledger/replay.ts).
--
-- A stream; fields of an entry: s = its number, b = bytes written to this ledger so far, itself included, e = packed:
--   { 'call', operation, epoch, wall µs, arguments, reply, { fence, seq, waiters, live leases } after it, and if calls
--     without entry came before it: { wall µs, logical µs, gap_from, no_reap_until } before it }
--   { 'epoch', epoch, last number before, server's identity, 1: the memory is empty }: begins an epoch
--   { 'denials', second, { node, reason, limit, count, … } }: calls of mode Reject that changed nothing
--   { 'gap', 'trimmed' | 'memory', first number, last number, consumer group ('' = all) }: entries nobody can read any more
--   { 'state', … }: checkpoint.lua
-- Of the meta record: bytes; denied_s = the second of denials that have no entry yet (fields D:… count them), 0 = none;
-- fields G:… = where groups stood when they missed entries; unlogged = calls without entry since the last one; skipped = entries that were not written because memory was full.

local ledger = {}

local LEDGER_TRIM_EVERY = 64
-- What the stream itself needs for an entry.
local LEDGER_OVERHEAD = 48

-- Nothing here may fail a call: what it decided is done. False: the entry is missing.
function ledger.append(call, entry)
  local meta, text = call.meta, pack(entry)
  meta.entries, meta.bytes = meta.entries + 1, meta.bytes + #text + LEDGER_OVERHEAD
  local reply = redis.pcall('XADD', call.keys.ledger, '*', 's', int(meta.entries), 'b', int(meta.bytes), 'e', text)
  if type(reply) ~= 'table' then return true end
  meta.skipped = meta.skipped + 1
  return false
end

local function skip(call)
  call.meta.entries, call.meta.skipped = call.meta.entries + 1, call.meta.skipped + 1
end

-- Number and bytes of the first entry after an id ('-': of all).
local function first_entry(call, from)
  local found = redis.call('XRANGE', call.keys.ledger, from, '+', 'COUNT', 1)[1]
  if not found then return nil end
  return tonumber(found[2][2]), tonumber(found[2][4])
end

-- Consumer groups with entries they have not read: { name, last id it was given, number of the first unread }.
local function unread_entries(call)
  local unread = {}
  -- Refused to users of before there was a ledger: then there are none.
  local groups = redis.pcall('XINFO', 'GROUPS', call.keys.ledger)
  for _, group in ipairs(groups) do
    local said = {}
    for index = 1, #group, 2 do said[group[index]] = group[index + 1] end
    local given = said['last-delivered-id']
    unread[#unread + 1] = { said.name, given, first_entry(call, '(' .. given) }
  end
  return unread
end

-- Marks what a group misses. A marker may be trimmed unread as well: the next one tells of all since the group last read.
local function note_trimmed(call, group, given, unread, first)
  if not unread or unread >= first then return end
  local field = 'G:' .. group
  local before = redis.call('HGET', call.keys.meta, field)
  local given_then, unread_then = string.match(before or '', '^(%S+) (%d+)$')
  if given_then == given then unread = tonumber(unread_then) end
  redis.call('HSET', call.keys.meta, field, given .. ' ' .. int(unread))
  ledger.append(call, { 'gap', 'trimmed', unread, first - 1, group })
end

-- Keeps to the budget: entries go whole nodes at a time, no more than a call can bear.
local function trim(call)
  local first, written = first_entry(call, '-')
  if not first or call.meta.bytes - written <= LEDGER_BYTES then return end
  local unread = unread_entries(call)
  local keep = redis.call('XLEN', call.keys.ledger) - 2 * LEDGER_TRIM_EVERY
  redis.call('XTRIM', call.keys.ledger, 'MAXLEN', '~', int(math.max(0, keep)))
  first = first_entry(call, '-') or call.meta.entries + 1
  for _, each in ipairs(unread) do note_trimmed(call, each[1], each[2], each[3], first) end
end

-- Whether Redis holds more than it may: operations with allow-oom run all the same, and must not make it worse.
local function is_full()
  local memory = redis.call('INFO', 'memory')
  local function number(name) return tonumber(string.match(memory, '\n' .. name .. ':(%d+)')) or 0 end
  local most = number('maxmemory')
  return most > 0 and number('used_memory') - number('mem_not_counted_for_evict') > most
end

local function second_of(wall_us)
  return math.floor(wall_us / 1000000)
end

-- Asking costs more than the entry: once a second.
local function has_room(call, may_be_full)
  if not may_be_full then return true end
  if second_of(call.wall_was) == second_of(call.meta.wall_us) then return call.meta.skipped == 0 end
  return not is_full()
end

local function flush_denials(call)
  local names, counts, list = {}, {}, {}
  local flat = redis.call('HGETALL', call.keys.meta)
  for index = 1, #flat, 2 do
    if string.sub(flat[index], 1, 2) == 'D:' then
      names[#names + 1], counts[flat[index]] = flat[index], tonumber(flat[index + 1])
    end
  end
  table.sort(names)
  for _, name in ipairs(names) do
    local node, reason, limit = string.match(name, '^D:(%Z*)%z(%Z*)%z(.*)$')
    for _, item in ipairs({ node, reason, limit, counts[name] }) do list[#list + 1] = item end
  end
  for first = 1, #names, 1000 do redis.call('HDEL', call.keys.meta, unpack(names, first, math.min(first + 999, #names))) end
  ledger.append(call, { 'denials', call.meta.denied_s, list })
  call.meta.denied_s = 0
end

local function count_denial(call, reply)
  local second = second_of(call.meta.wall_us)
  if call.meta.denied_s ~= second then
    if call.meta.denied_s > 0 then flush_denials(call) end
    call.meta.denied_s = second
  end
  redis.call('HINCRBY', call.keys.meta, 'D:' .. reply[3] .. '\0' .. reply[2] .. '\0' .. reply[4], 1)
end

local function changed_nothing(call)
  local meta = call.meta
  if call.changed or not call.was or meta.epoch ~= call.epoch_was then return false end
  local was = decode_meta(call.was)
  return meta.waiting == was.waiting and meta.mass_from == was.mass_from
end

-- Calls that need no entry; true as second value: a denial to be counted.
local function is_idle(call, name, ARGV, reply)
  local answer = type(reply) == 'table' and (type(reply[1]) == 'table' and reply[1][1] or reply[1])
  if ledger.is_due(call) then return false end
  if answer == 'epoch' then return call.meta.epoch == call.epoch_was end
  if name ~= 'acquire' then return false end
  if answer == 'stale' then return changed_nothing(call) end
  local is_denial = answer == 'denied' and ARGV[10] == 'R' and changed_nothing(call)
  return is_denial, is_denial
end

local ARGUMENTS = {}

-- Without what the tree's text says as well.
function ARGUMENTS.configure(_, ARGV)
  local arguments, uses = {}, 11 + 5 * tonumber(ARGV[10])
  for index = 1, uses + 3 * tonumber(ARGV[uses]) do arguments[index] = ARGV[index] end
  return arguments
end

-- All leases an owner has are named by a star.
function ARGUMENTS.beat(call, ARGV, reply)
  local count, seen = tonumber(ARGV[3]), {}
  if count == 0 or reply[1] ~= 'alive' or #reply[6] > 0 or call.held ~= count then return ARGV end
  for index = 4, 2 + 2 * count, 2 do
    if seen[ARGV[index]] then return ARGV end
    seen[ARGV[index]] = true
  end
  return { ARGV[1], ARGV[2], '*', unpack(ARGV, 4 + 2 * count) }
end

local function clock_before(call)
  local was = decode_meta(call.was)
  return { was.wall_us, was.now_us, was.gap_from, was.no_reap_until }
end

-- What comes before the entry of a call. False: it cannot be written either.
local function write_news(call)
  local meta = call.meta
  if meta.skipped > 0 then
    local missing = meta.skipped
    if not ledger.append(call, { 'gap', 'memory', meta.entries - missing + 1, meta.entries, '' }) then return false end
    meta.skipped, call.checkpoint = 0, true
  end
  if meta.denied_s > 0 and meta.denied_s ~= second_of(meta.wall_us) then flush_denials(call) end
  if meta.epoch ~= call.epoch_was then
    ledger.append(call, { 'epoch', meta.epoch, meta.entries, meta.identity, call.fresh and 1 or 0 })
  end
  return true
end

local function write_call(call, name, ARGV, reply)
  local meta, before = call.meta, call.meta.entries
  if not write_news(call) then return skip(call) end
  local arguments = ARGUMENTS[name] and ARGUMENTS[name](call, ARGV, reply) or ARGV
  local written = ledger.append(call, { 'call', name, meta.epoch, meta.wall_us, arguments, reply,
    { meta.fence, meta.seq, meta.waiting, redis.call('ZCARD', call.keys.expiries) },
    meta.unlogged > 0 and clock_before(call) or nil })
  meta.unlogged = 0
  if not written then return end
  if call.checkpoint or ledger.is_due(call) then ledger.checkpoint(call) end
  if math.floor(before / LEDGER_TRIM_EVERY) ~= math.floor(meta.entries / LEDGER_TRIM_EVERY) then trim(call) end
end

local function log(call, name, ARGV, reply, may_be_full)
  local meta = call.meta
  local is_idle_call, is_denial = is_idle(call, name, ARGV, reply)
  if is_idle_call then
    meta.unlogged = meta.unlogged + 1
    if is_denial then count_denial(call, reply) end
  elseif has_room(call, may_be_full) then
    write_call(call, name, ARGV, reply)
  else
    skip(call)
  end
  redis.call('HSET', call.keys.meta, STATE, encode_meta(meta))
  if call.fresh then redis.call('HSET', call.keys.meta, 'state', NOT_YOURS) end
end

-- At load time there is no `ipairs`.
local function has_flag(flags, wanted)
  for index = 1, #flags do
    if flags[index] == wanted then return true end
  end
  return false
end

-- Makes an operation of a callback; what it writes is entered in the ledger.
local function register(name, callback, flags)
  if has_flag(flags, 'no-writes') then return publish(name, callback, flags) end
  local may_be_full = has_flag(flags, 'allow-oom')
  publish(name, function(KEYS, ARGV)
    current = nil
    local reply = callback(KEYS, ARGV)
    if current and current.saves_meta then log(current, name, ARGV, reply, may_be_full) end
    return reply
  end, flags)
end
