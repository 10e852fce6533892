-- audit: recounts every counter from the leases. Reads only.
--
-- KEYS  as in keys.ts
-- ARGV  none
-- reply { live leases, for each difference: node, counter, stored, recounted … }
-- checks inv-I2: in flight, not sent, class System, reserved amounts, leases that may open a window, leases of each
--       owner; the waiting room's places.

local function add(counts, node, counter, amount)
  counts[node] = counts[node] or {}
  counts[node][counter] = (counts[node][counter] or 0) + amount
end

local function recount_charge(call, counts, node, lease, charge)
  local window = node_of(call, node).w[charge.n]
  if not window then return end
  if is_period(window) or charge.a == 0 then add(counts, node, 'reserved ' .. charge.n, charge.R) end
  if window.t ~= 'A' then return end
  local newest = window.n or window.c
  add(counts, node, 'live ' .. charge.n, 1)
  if newest and (not newest.hi or lease.s <= newest.hf) then add(counts, node, 'pending ' .. charge.n, 1) end
end

local function recount_slots(counts, lease)
  for _, entry in ipairs(lease.n) do
    add(counts, entry[1], 'inFlight', 1)
    if lease.h == 1 or lease.d == 1 then add(counts, entry[1], 'notSent', 1) end
    if lease.c == 1 then add(counts, entry[1], 'system', 1) end
  end
end

local function recount_holds(call, counts)
  for _, id in ipairs(redis.call('ZRANGE', call.keys.holds, 0, -1)) do
    local text = redis.call('HGET', call.keys.leases, id)
    if text then recount_slots(counts, decode_lease(text)) else add(counts, '-', 'hold without lease', 1) end
  end
end

local function recount(call, counts, owners, ids)
  for _, id in ipairs(ids) do
    local lease = read_lease(call, id)
    if lease then
      add(owners, lease.o, 'leases', 1)
      recount_slots(counts, lease)
      for _, entry in ipairs(lease.n) do
        for _, charge in ipairs(lease.x == 0 and entry[3] or {}) do
          recount_charge(call, counts, entry[1], lease, charge)
        end
      end
    else
      add(counts, '-', 'expiry without lease', 1)
    end
  end
end

local function stored_counts(call)
  local counts = {}
  for _, name in ipairs(redis.call('HKEYS', call.keys.nodes)) do
    local record = node_of(call, name)
    add(counts, name, 'inFlight', record.i)
    add(counts, name, 'notSent', record.z)
    add(counts, name, 'system', record.y)
    for key, window in pairs(record.w) do
      local newest = window
      if is_period(window) then newest = window.n or window.c end
      if newest then add(counts, name, 'reserved ' .. key, newest.r) end
      if newest and window.t == 'A' then
        add(counts, name, 'live ' .. key, newest.v)
        add(counts, name, 'pending ' .. key, newest.p)
      end
    end
  end
  return counts
end

local function differences(reply, stored, recounted)
  local function compare(node, counter)
    local left = stored[node] and stored[node][counter] or 0
    local right = recounted[node] and recounted[node][counter] or 0
    if left ~= right then
      for _, item in ipairs({ node, counter, int(left), int(right) }) do reply[#reply + 1] = item end
    end
  end
  for node, counters in pairs(stored) do
    for counter in pairs(counters) do compare(node, counter) end
  end
  for node, counters in pairs(recounted) do
    for counter in pairs(counters) do
      if not (stored[node] and stored[node][counter]) then compare(node, counter) end
    end
  end
end

-- The waiting room: every waiter stands in its sub-queue once, every sub-queue is parked or may be dispatched.
local function recount_waiters(call, counts, stored)
  add(stored, '-', 'waiting', call.meta.waiting)
  add(stored, '-', 'places', 0)
  if call.meta.waiting == 0 then return end
  local subs = {}
  for _, field in ipairs(redis.call('HKEYS', call.keys.waiters)) do
    if is_waiter(field) then
      local waiter = decode_waiter(redis.call('HGET', call.keys.waiters, field))
      add(counts, '-', 'waiting', 1)
      subs[waiter.sub] = (subs[waiter.sub] or 0) + 1
    end
  end
  for sub, count in pairs(subs) do
    local record = queue.sub_of(call, sub)
    add(stored, sub, 'waiting', record and record.waiting or 0)
    add(counts, sub, 'waiting', count)
    add(counts, sub, 'places', 1)
    add(stored, sub, 'places', record and record.seq >= 0 and 1 or 0)
  end
end

local function audit(KEYS)
  local call = open(KEYS)
  require_tree(call)
  queue.prepare(call)
  local ids = redis.call('ZRANGE', call.keys.expiries, 0, -1)
  local counts, owners, stored_owners = {}, {}, {}
  recount(call, counts, owners, ids)
  recount_holds(call, counts)
  local flat = redis.call('HGETALL', call.keys.owners)
  for index = 1, #flat, 2 do add(stored_owners, flat[index], 'leases', (struct.unpack(OWNER_FORMAT, flat[index + 1]))) end
  local reply = { #ids }
  differences(reply, stored_counts(call), counts)
  differences(reply, stored_owners, owners)
  local waiters, stored_waiters = {}, {}
  recount_waiters(call, waiters, stored_waiters)
  differences(reply, stored_waiters, waiters)
  return reply
end

register('audit', audit, { 'no-writes' })
