-- Records: how nodes and leases are stored. Doubles hold every integer below 2^53 exactly and cost a fifth of what
-- maps do; strings end with a zero byte, so names must not hold one (tree-bounds.ts sees to that).

local pack, unpack_record

-- At load time `redis.call` and cmsgpack do not exist yet.
local function bind()
  if not pack then
    pack, unpack_record = cmsgpack.pack, cmsgpack.unpack
  end
end

local NODE_FORMAT, PERIOD_FORMAT, SHARE_FORMAT = '<dddddddBI4', '<ddddddddddddddd', '<ddddd'

local function or_none(value)
  return value or -1
end

local function known(value)
  return value >= 0 and value
end

local function encode_period(p)
  return struct.pack(PERIOD_FORMAT, p.s, p.u, p.r, p.k, p.v, p.p, or_none(p.lo), or_none(p.hi), p.hf, or_none(p.sf),
    or_none(p.sl), or_none(p.su), p.fl, p.cl, p.gc)
end

local function decode_period(text, at)
  local s, u, r, k, v, p, lo, hi, hf, sf, sl, su, fl, cl, gc, after = struct.unpack(PERIOD_FORMAT, text, at)
  return { s = s, u = u, r = r, k = k, v = v, p = p, lo = known(lo), hi = known(hi), hf = hf, sf = known(sf),
    sl = known(sl), su = known(su), fl = fl, cl = cl, gc = gc }, after
end

local function encode_share(p)
  return struct.pack(SHARE_FORMAT, p.s, p.u, p.r, p.cl, p.gc)
end

local function decode_share(text, at)
  local s, u, r, cl, gc, after = struct.unpack(SHARE_FORMAT, text, at)
  return { s = s, u = u, r = r, cl = cl, gc = gc }, after
end

local function add_periods(parts, window, encode)
  parts[#parts + 1] = (window.c and '1' or '0') .. (window.n and '1' or '0')
  if window.c then parts[#parts + 1] = encode(window.c) end
  if window.n then parts[#parts + 1] = encode(window.n) end
end

local function read_periods(text, at, window, decode)
  local current, following = string.byte(text, at, at + 1)
  at, window.c, window.n = at + 2, false, false
  if current == 49 then window.c, at = decode(text, at) end
  if following == 49 then window.n, at = decode(text, at) end
  return window, at
end

local ENCODE, DECODE = {}, {}

function ENCODE.A(parts, w)
  parts[#parts + 1] = struct.pack('<dddddd', w.d, w.s, w.f, w.e, w.cr, w.gr)
  add_periods(parts, w, encode_period)
end

function DECODE.A(text, at)
  local window = { t = 'A' }
  window.d, window.s, window.f, window.e, window.cr, window.gr, at = struct.unpack('<dddddd', text, at)
  return read_periods(text, at, window, decode_period)
end

function ENCODE.P(parts, w)
  parts[#parts + 1] = struct.pack('<ssdd', w.o, w.k, w.cr, w.gr)
  add_periods(parts, w, encode_share)
end

function DECODE.P(text, at)
  local window = { t = 'P' }
  window.o, window.k, window.cr, window.gr, at = struct.unpack('<ssdd', text, at)
  return read_periods(text, at, window, decode_share)
end

function ENCODE.C(parts, w)
  parts[#parts + 1] = struct.pack('<sddddddddd', w.b, w.s, w.e, w.u, w.r, w.cl, w.gc, w.gp, w.cr, w.gr)
end

function DECODE.C(text, at)
  local window = { t = 'C' }
  window.b, window.s, window.e, window.u, window.r, window.cl, window.gc, window.gp, window.cr, window.gr, at =
    struct.unpack('<sddddddddd', text, at)
  return window, at
end

function ENCODE.F(parts, w)
  parts[#parts + 1] = struct.pack('<dddddddddd', w.d, w.s, w.e, w.u, w.r, w.cl, w.gc, w.gp, w.cr, w.gr)
end

function DECODE.F(text, at)
  local window = { t = 'F' }
  window.d, window.s, window.e, window.u, window.r, window.cl, window.gc, window.gp, window.cr, window.gr, at =
    struct.unpack('<dddddddddd', text, at)
  return window, at
end

function ENCODE.S(parts, w)
  parts[#parts + 1] = struct.pack('<ddddH', w.d, w.w, w.u, w.r, #w.b)
  if #w.b > 0 then parts[#parts + 1] = struct.pack('<' .. string.rep('d', #w.b), unpack(w.b)) end
end

function DECODE.S(text, at)
  local window, count = { t = 'S' }, 0
  window.d, window.w, window.u, window.r, count, at = struct.unpack('<ddddH', text, at)
  window.b = { struct.unpack('<' .. string.rep('d', count), text, at) }
  window.b[count + 1] = nil -- the position after the last one
  return window, at + 8 * count
end

-- A node's counters: { i = in flight, z = of those not sent, y = of those of class System, tat, rt, rl, rn = rate
-- (charges.lua), w = { key = window }, a = what it learnt (nodes.lua), false: nothing }.
local function encode_node(record)
  local parts, count = { '', '' }, 0
  for key, window in pairs(record.w) do
    count = count + 1
    parts[#parts + 1] = struct.pack('<c1sd', window.t, key, or_none(window.m))
    ENCODE[window.t](parts, window)
  end
  parts[2] = record.a and pack(record.a) or ''
  parts[1] = struct.pack(NODE_FORMAT, record.i, record.z, record.y, or_none(record.tat), record.rt or 0,
    record.rl or 0, record.rn or 0, count, #parts[2])
  return table.concat(parts)
end

local function decode_node(text)
  local record, count, at, learnt = { w = {} }, 0, 1, 0
  record.i, record.z, record.y, record.tat, record.rt, record.rl, record.rn, count, learnt, at =
    struct.unpack(NODE_FORMAT, text)
  record.tat = known(record.tat)
  record.a = learnt > 0 and unpack_record(string.sub(text, at, at + learnt - 1))
  at = at + learnt
  for _ = 1, count do
    local kind, key, amount, window
    kind, key, amount, at = struct.unpack('<c1sd', text, at)
    window, at = DECODE[kind](text, at)
    window.m = known(amount)
    record.w[key] = window
  end
  return record
end

-- A lease (leases.lua) with its charges (charges.lua).
local LEASE_FORMAT = '<sdddddBBBBBBdB'

local function encode_lease(lease)
  local parts = { struct.pack(LEASE_FORMAT, lease.o, lease.f, lease.s, lease.g, lease.w, lease.m, lease.q, lease.v,
    lease.x, lease.c, lease.d, lease.h, lease.p, #lease.n) }
  for _, entry in ipairs(lease.n) do
    parts[#parts + 1] = struct.pack('<sdB', entry[1], entry[2], #entry[3])
    for _, c in ipairs(entry[3]) do
      parts[#parts + 1] = struct.pack('<sddddBB', c.n, c.R, c.k, c.b or 0, c.m, c.q, c.a)
    end
  end
  return table.concat(parts)
end

local function decode_lease(text)
  local lease, nodes, at = { n = {} }, 0, 1
  lease.o, lease.f, lease.s, lease.g, lease.w, lease.m, lease.q, lease.v, lease.x, lease.c, lease.d, lease.h, lease.p,
    nodes, at = struct.unpack(LEASE_FORMAT, text)
  for index = 1, nodes do
    local name, number, count
    local charges = {}
    name, number, count, at = struct.unpack('<sdB', text, at)
    for position = 1, count do
      local c = {}
      c.n, c.R, c.k, c.b, c.m, c.q, c.a, at = struct.unpack('<sddddBB', text, at)
      charges[position] = c
    end
    lease.n[index] = { name, number, charges }
  end
  return lease
end

-- Waiters and the queue's own records: fields in order, numbers as doubles, texts zero-ended.
local WAITER_FIELDS = { 'owner', 'leaf', 'model', 'tool', 'capability', 'source', 'user', 'pool', 'namespace', 'key',
  'place', 'mode', 'sub', 'class', 'deadline', 'round', 'seq', 'attempt', 'longest', 'since' }
local WAITER_FORMAT = '<sssssssssssssBdddddd'

local function encode_waiter(w)
  local values = {}
  for index, name in ipairs(WAITER_FIELDS) do values[index] = w[name] end
  return struct.pack(WAITER_FORMAT, unpack(values)) .. struct.pack('<' .. string.rep('d', #w.amounts), unpack(w.amounts))
end

local function decode_waiter(text)
  local values = { struct.unpack(WAITER_FORMAT, text) }
  local waiter, at = {}, values[#WAITER_FIELDS + 1]
  for index, name in ipairs(WAITER_FIELDS) do waiter[name] = values[index] end
  local count = (#text - at + 1) / 8
  waiter.amounts = { struct.unpack('<' .. string.rep('d', count), text, at) }
  waiter.amounts[count + 1] = nil
  return waiter
end
