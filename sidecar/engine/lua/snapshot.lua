-- snapshot: what is used, node by node. Reads only; windows are brought up to the clock in memory.
--
-- KEYS  as in keys.ts
-- ARGV  none
-- reply { epoch, lease created ms, transitions, generation, hash, now wall ms, live leases,
--         for each node: { name, in flight, concurrency (-1 = none), stopped 0|1, queued, frozen until wall ms (-1),
--           breaker 0 closed | 1 open | 2 half open,
--           for each limit: { name, resource index, amount, used, reserved, resets wall ms (-1 = not known),
--             opened between these wall ms (-1 = not known) } … } … }
--       or nil when the tree is not configured

local function usage_of(call, record, limit)
  local window, timeline = window_for(call, record, limit)
  local used, reserved, resets, lo, hi = 0, 0, -1, -1, -1
  if not is_period(window) then
    used, reserved = window.u, window.r
    if window.t ~= 'S' and window.e < MAX_AMOUNT then resets = window.e end
  elseif window.c then
    used, reserved = window.c.u, window.c.r
    local period = timeline.c
    resets = period_end(period, timeline.d) or period.lo + timeline.d + GUARD_MS
    lo, hi = period.lo or -1, period.hi or -1
  end
  return { limit[LIMIT_NAME], limit[LIMIT_RESOURCE], int(limit[LIMIT_AMOUNT]), int(used), int(reserved), resets,
    lo, hi }
end

-- Calls that wait, by node of their own path.
local function queued_by_node(call)
  local counts = {}
  if call.meta.waiting == 0 then return counts end
  local flows = redis.call('HGETALL', call.keys.flows)
  for index = 1, #flows, 2 do
    if string.sub(flows[index], 1, 2) == 'F:' then
      local flow = queue.flow_of(call, string.sub(flows[index], 3))
      local config = node_configs(call, { flow.leaf })[1]
      for _, name in ipairs(config and config[NODE_PATH] or { flow.leaf }) do
        counts[name] = (counts[name] or 0) + flow.waiting
      end
    end
  end
  return counts
end

-- Slots whose hold is over are as good as free: the next call that writes frees them.
local function released_by_node(call)
  local counts = {}
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', call.keys.holds, '-inf', int(call.meta.now_ms))) do
    local text = redis.call('HGET', call.keys.leases, id)
    for _, entry in ipairs(text and decode_lease(text).n or {}) do counts[entry[1]] = (counts[entry[1]] or 0) + 1 end
  end
  return counts
end

local function breaker_of(call, a)
  if not a or (a.bo or 0) == 0 then return 0 end
  return call.meta.now_ms < a.bo and 1 or 2
end

local function node_state(call, name, queued, released)
  local config, record = node_configs(call, { name })[1], node_of(call, name)
  local a, wall = record.a, call.meta.wall_ms
  local stopped = false
  for class = 1, 4 do stopped = stopped or stop_of(config, class, wall) ~= nil end
  local frozen = a and (a.fz or 0) > wall and a.fz or -1
  local concurrency = a and a.c or config[NODE_MIN] >= 0 and
    clamp(config[NODE_START], config[NODE_MIN], config[NODE_CONCURRENCY]) or config[NODE_CONCURRENCY]
  local node = { name, record.i - (released[name] or 0), concurrency, stopped and 1 or 0, queued[name] or 0, frozen, breaker_of(call, a) }
  for _, limit in ipairs(config[NODE_LIMITS]) do node[#node + 1] = usage_of(call, record, limit) end
  return node
end

local function snapshot(KEYS)
  local call = open(KEYS)
  local tree = read_tree(call)
  if not tree or call.outdated then return nil end
  queue.prepare(call)
  local reply = { call.meta.epoch, tree[4], tree[5], tree[6], tree[7], call.meta.wall_ms,
    redis.call('ZCARD', call.keys.expiries) }
  local queued, released = queued_by_node(call), released_by_node(call)
  for _, name in ipairs(unpack_record(redis.call('HGET', call.keys.config, 'o'))) do
    reply[#reply + 1] = node_state(call, name, queued, released)
  end
  return reply
end

register('snapshot', snapshot, { 'no-writes' })
