-- snapshot: what is used, node by node. Reads only; windows are brought up to the clock in memory.
--
-- KEYS  as in keys.ts
-- ARGV  none
-- reply { epoch, lease created ms, transitions, generation, hash, now wall ms, live leases,
--         for each node: { name, in flight, concurrency (-1 = none), stopped 0|1, queued, frozen until wall ms (-1),
--           breaker 0 closed | 1 open | 2 half open, µs until its rate is as if never used, wall ms at which the call began
--           to wait that has waited longest (-1 = none waits),
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

-- Calls that wait, by node of their own path: how many, and since when the first of them.
local function queued_by_node(call)
  local counts, oldest = {}, {}
  if call.meta.waiting == 0 then return counts, oldest end
  local flows = redis.call('HGETALL', call.keys.flows)
  for index = 1, #flows, 2 do
    local leaf, waiting = string.match(flows[index], '^L:(.*)$'), tonumber(flows[index + 1])
    if leaf and waiting > 0 then
      local config, since = node_configs(call, { leaf })[1], queue.oldest_of(call, leaf)
      for _, name in ipairs(config and config[NODE_PATH] or { leaf }) do
        counts[name], oldest[name] = (counts[name] or 0) + waiting, math.min(oldest[name] or since, since)
      end
    end
  end
  return counts, oldest
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

local function node_state(call, name, queued, oldest, released)
  local config, record = node_configs(call, { name })[1], node_of(call, name)
  local a, wall = record.a, call.meta.wall_ms
  local stopped = false
  for class = 1, 4 do stopped = stopped or stop_of(config, class, wall) ~= nil end
  local frozen = a and (a.fz or 0) > wall and a.fz or -1
  local concurrency = a and a.c or config[NODE_MIN] >= 0 and
    clamp(config[NODE_START], config[NODE_MIN], config[NODE_CONCURRENCY]) or config[NODE_CONCURRENCY]
  local node = { name, record.i - (released[name] or 0), concurrency, stopped and 1 or 0, queued[name] or 0, frozen, breaker_of(call, a),
    math.max(0, (record.tat or 0) - call.meta.now_us), oldest[name] and wall - call.meta.now_ms + oldest[name] or -1 }
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
  local queued, oldest = queued_by_node(call)
  local released = released_by_node(call)
  for _, name in ipairs(unpack_record(redis.call('HGET', call.keys.config, 'o'))) do
    reply[#reply + 1] = node_state(call, name, queued, oldest, released)
  end
  return reply
end

register('snapshot', snapshot, { 'no-writes' })
