-- Owners of one flow take turns: each call of an owner gets a round, lower rounds go first. An owner's latest round is kept as
-- long as one of its calls may wait: T:flow, owner → birth of the flow, round; a flow that starts anew knows no turns.

local function turn_field(flow_name, owner)
  return 'T:' .. flow_name .. '\0' .. owner
end

-- Nil: it had none that counts.
local function last_turn(call, flow, request)
  local field = turn_field(request.flow, request.owner)
  local text = redis.call('HGET', call.keys.waiters, field)
  if not text then return nil end
  local birth, round = struct.unpack('<dd', text)
  local until_ms = tonumber(redis.call('ZSCORE', call.keys.patience, field))
  if birth == flow.birth and call.meta.now_ms < until_ms then return round, until_ms end
  return nil
end

local function set_turn(call, flow, request, round, until_ms)
  local field, longest = turn_field(request.flow, request.owner), call.meta.now_ms + clamp(request.patience, 0, 86400000)
  redis.call('HSET', call.keys.waiters, field, struct.pack('<dd', flow.birth, round))
  redis.call('ZADD', call.keys.patience, int(math.max(until_ms or 0, longest)), field)
end

-- The round of an owner's next call in a flow.
function queue.next_round(call, flow, request)
  local last, until_ms = last_turn(call, flow, request)
  local round = math.max(flow.round, (last or -1) + 1)
  set_turn(call, flow, request, round, until_ms)
  return round
end

-- The round of a call that comes back: what it had, but in a flow that began anew since then no later than a newcomer.
function queue.same_round(call, flow, request, kept)
  local last, until_ms = last_turn(call, flow, request)
  local round = math.min(kept, math.max(flow.round, (last or -1) + 1))
  set_turn(call, flow, request, math.max(round, last or 0), until_ms)
  return round
end

-- A waiter waits longer than it said at first.
function queue.keep_turn(call, waiter)
  local field = turn_field(queue.sub_of(call, waiter.sub).flow, waiter.owner)
  local until_ms = redis.call('ZSCORE', call.keys.patience, field)
  if not until_ms or tonumber(until_ms) <= call.meta.now_ms then return end
  redis.call('ZADD', call.keys.patience, int(math.max(tonumber(until_ms), waiter.deadline)), field)
end
