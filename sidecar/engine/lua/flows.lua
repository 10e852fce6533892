-- Records of the waiting room (rules Q1, Q2).
--
-- flow { birth, tag, round, waiting, class, leaf, locals = { X → finish tag } }: the fair entity (leaf, class, key)
-- sub  { birth, flow, round, seq = of its head where it stands (-1: nowhere), x = where it is parked ('': its head may be
--        dispatched), waiting }: one FIFO for calls that are counted on the same nodes
-- bottleneck { v = virtual time, first, bypass = how often its first was passed, tag, birth, round, seq = a cursor (tag
--        and birth of a flow, -1: none; head of a sub-queue) }
-- Ids of flows and sub-queues are hashes: they may hold anything callers say. Records live in the call and are written
-- once at its end.

local CLASS_WEIGHTS = { 8, 4, 2, 1 }
local FLOW_FORMAT, SUB_FORMAT, BOTTLENECK_FORMAT = '<dddddsd', '<dsddsd', '<ddddddd'

local function digits(number)
  return string.format('%016.0f', number)
end

local function hashed(text)
  return string.sub(redis.sha1hex(text), 1, 20)
end

local function lex_range(key, prefix, ...)
  return redis.call('ZRANGEBYLEX', key, '[' .. prefix .. '\0', '(' .. prefix .. '\1', ...)
end

function queue.flow_of(call, flow)
  local cached = call.flows[flow]
  if cached ~= nil then return cached end
  local text = redis.call('HGET', call.keys.flows, 'F:' .. flow)
  local record = false
  if text then
    record = { locals = {} }
    local count, at
    record.birth, record.tag, record.round, record.waiting, record.class, record.leaf, count, at =
      struct.unpack(FLOW_FORMAT, text)
    for _ = 1, count do
      local x, finish
      x, finish, at = struct.unpack('<sd', text, at)
      record.locals[x] = finish
    end
  end
  call.flows[flow] = record
  return record
end

function queue.sub_of(call, sub)
  local cached = call.subs[sub]
  if cached ~= nil then return cached end
  local text = redis.call('HGET', call.keys.flows, 'S:' .. sub)
  local record = false
  if text then
    record = {}
    record.birth, record.flow, record.round, record.seq, record.x, record.waiting =
      struct.unpack(SUB_FORMAT, text)
  end
  call.subs[sub] = record
  return record
end

function queue.bottleneck_of(call, x)
  local cached = call.bottlenecks[x]
  if cached ~= nil then return cached end
  local text = redis.call('HGET', call.keys.flows, 'B:' .. x)
  local record = false
  if text then
    record = {}
    record.v, record.first, record.bypass, record.tag, record.birth, record.round, record.seq =
      struct.unpack(BOTTLENECK_FORMAT, text)
  end
  call.bottlenecks[x] = record
  return record
end

local function encode_flow(record)
  local parts, count = { '' }, 0
  for x, finish in pairs(record.locals) do
    count = count + 1
    parts[#parts + 1] = struct.pack('<sd', x, finish)
  end
  parts[1] = struct.pack(FLOW_FORMAT, record.birth, record.tag, record.round, record.waiting, record.class, record.leaf,
    count)
  return table.concat(parts)
end

function queue.prepare(call)
  call.flows, call.subs, call.bottlenecks, call.wakes = {}, {}, {}, {}
end

-- Writes what the call changed; an empty waiting room leaves nothing behind.
function queue.save(call)
  local keys, meta = call.keys, call.meta
  if meta.waiting == 0 then
    if call.was_waiting > 0 or next(call.flows) then
      redis.call('DEL', keys.order, keys.flows, keys.runnable, keys.heads, keys.parked, keys.timers)
      redis.call('HDEL', keys.meta, 'guard')
      meta.vtime, meta.guarded, meta.runnable_others = 0, 0, 0
    end
    return
  end
  local fields, gone = {}, {}
  local function put(kind, id, record, text)
    if record then
      fields[#fields + 1], fields[#fields + 2] = kind .. id, text(record)
    else
      gone[#gone + 1] = kind .. id
    end
  end
  for id, record in pairs(call.flows) do put('F:', id, record, encode_flow) end
  for id, record in pairs(call.subs) do
    put('S:', id, record, function(sub)
      return struct.pack(SUB_FORMAT, sub.birth, sub.flow, sub.round, sub.seq, sub.x, sub.waiting)
    end)
  end
  for id, record in pairs(call.bottlenecks) do
    put('B:', id, record, function(b)
      return struct.pack(BOTTLENECK_FORMAT, b.v, b.first, b.bypass, b.tag, b.birth, b.round, b.seq)
    end)
  end
  in_chunks(fields, 1000, function(...) redis.call('HSET', keys.flows, ...) end)
  in_chunks(gone, 1000, function(...) redis.call('HDEL', keys.flows, ...) end)
end
