-- Owners of one flow take turns: each call of an owner gets a round, lower rounds go first. An owner's latest round is kept as
-- long as one of its calls may wait: T:flow, owner → birth of the flow, round; a flow that starts anew knows no turns.

local function turn_field(flow_name, owner)
  return 'T:' .. flow_name .. '\0' .. owner
end

-- And until when it counts; -1: it has none.
local function last_turn(call, flow, request)
  local field = turn_field(request.flow, request.owner)
  local text = redis.call('HGET', call.keys.waiters, field)
  if not text then return -1, 0 end
  local birth, round = struct.unpack('<dd', text)
  local until_ms = tonumber(redis.call('ZSCORE', call.keys.patience, field))
  if birth == flow.birth and call.meta.now_ms < until_ms then return round, until_ms end
  return -1, 0
end

-- The round of an owner's next call in a flow; `kept`: that of a call that comes back to its place. In a flow that began anew
-- since then it stands no later than a newcomer.
function queue.next_round(call, flow, request, kept)
  local last, until_ms = last_turn(call, flow, request)
  local round = math.max(flow.round, last + 1)
  round = math.min(kept or round, round)
  local field = turn_field(request.flow, request.owner)
  redis.call('HSET', call.keys.waiters, field, struct.pack('<dd', flow.birth, math.max(round, last)))
  redis.call('ZADD', call.keys.patience, int(math.max(until_ms, request.deadline)), field)
  return round
end

-- A waiter waits longer than it said at first.
function queue.keep_turn(call, waiter)
  local field = turn_field(queue.sub_of(call, waiter.sub).flow, waiter.owner)
  local until_ms = redis.call('ZSCORE', call.keys.patience, field)
  if not until_ms or tonumber(until_ms) <= call.meta.now_ms then return end
  redis.call('ZADD', call.keys.patience, int(math.max(tonumber(until_ms), waiter.deadline)), field)
end
