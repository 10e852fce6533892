-- govern: what only the operator does to a running tree: reclaim, drain, freeze, reset, and the planned move of its slot.
--
-- KEYS  as in keys.ts, and the config record
-- ARGV  'reclaim', prefix, except ('' = nobody) | 'drain', process, 0|1 | 'freeze', node, until wall ms (-1 = open it)
--       | 'move', until wall ms, identities of the servers it may move between | 'reset', node, limit | 'calibrate', limit, used, reset wall ms (-1 = not open), poll start wall ms
-- reply { leases, waiters } for reclaim, { 'applied' | 'kept' | 'unknown', used before, after } for calibrate, else { 1 } or { 0 }: there is no such node or limit
-- keeps rule W5: it writes the config record (its head, as it is), which a sidecar's user may not.

local RECLAIM_BUDGET = 64
local ZOMBIE_HOLD_MS = 2000

local function is_among(owner, prefix, except)
  return string.sub(owner, 1, #prefix) == prefix and owner ~= except
end

-- Those of the owners meant. Every record begins with its owner: of others no more is read, for there may be thousands.
local function owned_in(key, ids, prefix, except)
  local owned = {}
  in_chunks(ids, 1000, function(...)
    local chunk = { ... }
    for index, text in ipairs(redis.call('HMGET', key, ...)) do
      if text and is_among(string.match(text, '^%Z*'), prefix, except) then owned[#owned + 1] = chunk[index] end
    end
  end)
  return owned
end

local function reclaim_leases(call, prefix, except)
  local ended, live = 0, redis.call('ZRANGE', call.keys.expiries, 0, -1)
  for _, id in ipairs(owned_in(call.keys.leases, live, prefix, except)) do
    if ended < RECLAIM_BUDGET and read_lease(call, id) then
      expire(call, id, ZOMBIE_HOLD_MS)
      ended = ended + 1
    end
  end
  return ended
end

local function reclaim_waiters(call, prefix, except)
  local ids, found = {}, {}
  for _, id in ipairs(redis.call('ZRANGE', call.keys.patience, 0, -1)) do
    if is_waiter(id) then
      ids[#ids + 1] = id
    elseif string.sub(id, 1, 2) == 'T:' and is_among(string.match(id, '%z(.*)$'), prefix, except) then
      redis.call('ZREM', call.keys.patience, id)
      redis.call('HDEL', call.keys.waiters, id)
    end
  end
  for index, id in ipairs(owned_in(call.keys.waiters, ids, prefix, except)) do
    found[index] = { id, decode_waiter(redis.call('HGET', call.keys.waiters, id)) }
  end
  table.sort(found, function(a, b) return a[2].seq < b[2].seq end)
  for index = 1, math.min(#found, RECLAIM_BUDGET) do queue.leave(call, found[index][1], found[index][2]) end
  return math.min(#found, RECLAIM_BUDGET)
end

local GOVERN = {}

-- Marks of draining processes, in the meta record: d:process → 1, or when the mark ends by itself.
local function set_draining(call, process, draining)
  local field = 'd:' .. process
  if draining then
    call.meta.draining = call.meta.draining + redis.call('HSET', call.keys.meta, field, 1)
  else
    call.meta.draining = call.meta.draining - redis.call('HDEL', call.keys.meta, field)
  end
end

-- Nobody may ever take back the mark of a process of which nothing is left: it ends when nothing of it can come in late.
local function end_mark(call, process)
  local field = 'd:' .. process
  if redis.call('HGET', call.keys.meta, field) ~= '1' then return end
  redis.call('HSET', call.keys.meta, field, int(call.meta.now_ms + LATE_MS))
end

local function forget_ended_marks(call)
  if call.meta.draining == 0 then return end
  local flat = redis.call('HGETALL', call.keys.meta)
  for index = 1, #flat, 2 do
    local process = string.match(flat[index], '^d:(.*)$')
    local until_ms = process and flat[index + 1] ~= '1' and tonumber(flat[index + 1])
    if until_ms and until_ms <= call.meta.now_ms then set_draining(call, process, false) end
  end
end

function GOVERN.reclaim(call, ARGV)
  local prefix, except = ARGV[2], ARGV[3]
  local leases, waiters = reclaim_leases(call, prefix, except), reclaim_waiters(call, prefix, except)
  local process = except == '' and string.match(prefix, '^(.*)/$')
  if process and leases + waiters == 0 then end_mark(call, process) end
  forget_ended_marks(call)
  return { leases, waiters }
end

function GOVERN.drain(call, ARGV)
  set_draining(call, ARGV[2], ARGV[3] == '1')
  return { 1 }
end

function GOVERN.freeze(call, ARGV)
  local name, until_ms = ARGV[2], tonumber(ARGV[3])
  if not node_configs(call, { name })[1] then return { 0 } end
  freeze_node(call, name, math.max(0, until_ms))
  queue.wake(call, name)
  return { 1 }
end

-- In the config record, which sidecars only read.
function GOVERN.move(call, ARGV)
  local servers = {}
  for index = 3, #ARGV do servers[#servers + 1] = ARGV[index] end
  redis.call('HSET', call.keys.config, 'm', pack({ tonumber(ARGV[2]), servers }))
  return { 1 }
end

local function clear_window(window)
  if window.t == 'S' then
    window.u, window.b = 0, {}
  else
    each_share(window, function(share) share.u = 0 end)
  end
end

function GOVERN.reset(call, ARGV)
  local config = node_configs(call, { ARGV[2] })[1]
  for _, limit in ipairs(config and config[NODE_LIMITS] or {}) do
    if limit[LIMIT_NAME] == ARGV[3] then
      clear_window(window_for(call, touch(call, ARGV[2]), limit))
      sync_guarantees(call, ARGV[2])
      queue.wake(call, ARGV[2] .. '|' .. ARGV[3])
      return { 1 }
    end
  end
  return { 0 }
end

function GOVERN.calibrate(call, ARGV)
  local config = node_configs(call, { 'account' })[1]
  for _, limit in ipairs(config[NODE_LIMITS]) do
    if limit[LIMIT_NAME] == ARGV[2] and limit[LIMIT_KIND] == 'A' then
      call.checkpoint = true
      local reply = calibrate_window(call, limit, tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]))
      queue.wake_all(call)
      return reply
    end
  end
  return { 'unknown', '0', '0' }
end

local function govern(KEYS, ARGV)
  local call = open(KEYS)
  require_tree(call)
  redis.call('HSET', call.keys.config, 't', redis.call('HGET', call.keys.config, 't'))
  begin(call)
  local reply = GOVERN[ARGV[1]](call, ARGV)
  conclude(call)
  return reply
end

register('govern', govern, { 'allow-oom' })
