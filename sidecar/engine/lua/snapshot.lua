-- snapshot: what is used, node by node. Reads only; windows are brought up to the clock in memory.
--
-- KEYS  as in keys.ts
-- ARGV  none
-- reply { epoch, lease created ms, transitions, generation, hash, now wall ms, live leases,
--         for each node: { name, in flight, concurrency (-1 = none), stopped 0|1,
--           for each limit: { name, resource index, amount, used, reserved, resets wall ms (-1 = not known) } … } … }
--       or nil when the tree is not configured

local function usage_of(call, record, limit)
  local window, timeline = window_for(call, record, limit)
  local used, reserved, resets = 0, 0, -1
  if not is_period(window) then
    used, reserved = window.u, window.r
    if window.t == 'C' and window.e < MAX_AMOUNT then resets = window.e end
  elseif window.c then
    used, reserved = window.c.u, window.c.r
    local period = timeline.c
    resets = period_end(period, timeline.d) or period.lo + timeline.d + GUARD_MS
  end
  return { limit[LIMIT_NAME], limit[LIMIT_RESOURCE], int(limit[LIMIT_AMOUNT]), int(used), int(reserved), resets }
end

local function snapshot(KEYS)
  local call = open(KEYS)
  local tree = read_tree(call)
  if not tree then return nil end
  local reply = { call.meta.epoch, tree[4], tree[5], tree[6], tree[7], call.meta.wall_ms,
    redis.call('ZCARD', call.keys.expiries) }
  for _, name in ipairs(unpack_record(redis.call('HGET', call.keys.config, 'o'))) do
    local config, record = node_configs(call, { name })[1], node_of(call, name)
    local node = { name, record.i, config[NODE_CONCURRENCY], config[NODE_STOPPED] }
    for _, limit in ipairs(config[NODE_LIMITS]) do node[#node + 1] = usage_of(call, record, limit) end
    reply[#reply + 1] = node
  end
  return reply
end

register('snapshot', snapshot, { 'no-writes' })
