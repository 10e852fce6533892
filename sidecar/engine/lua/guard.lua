-- The starvation guard (rule Q5): a call that needs much of a window is passed by smaller ones again and again. Once it
-- was passed GUARD_BYPASS times, and settling what is in flight can make it fit, nobody else takes of that window.
-- One guard a tree: field `guard` of the meta record, bottleneck and sub-queue.

local function guard_of(call)
  if call.meta.guarded == 0 then return nil end
  if not call.guard then
    local text = redis.call('HGET', call.keys.meta, 'guard')
    local x, sub = string.match(text, '^(.*)%z(.*)$')
    call.guard = { x = x, sub = sub }
  end
  return call.guard
end

local function set_guard(call, x, sub)
  call.guard, call.meta.guarded = { x = x, sub = sub }, 1
  redis.call('HSET', call.keys.meta, 'guard', x .. '\0' .. sub)
end

-- The guarded call left, or waits elsewhere: others may take again.
function queue.end_guard(call, sub)
  local guard = guard_of(call)
  if not guard or guard.sub ~= sub then return end
  call.guard, call.meta.guarded = nil, 0
  redis.call('HDEL', call.keys.meta, 'guard')
  queue.wake(call, guard.x)
end

function queue.check_guard(call, name, config, request, found)
  local guard = guard_of(call)
  if not guard or request.head_of == guard.sub then return end
  for _, limit in ipairs(config[NODE_LIMITS]) do
    local x = name .. '|' .. limit[LIMIT_NAME]
    if x == guard.x and request.amounts[limit[LIMIT_RESOURCE]] > 0 then
      local failing = failing_at(name, 'Waiting', limit[LIMIT_NAME], 0, 0)
      failing.unit, failing.x = false, x
      found[#found + 1] = failing
    end
  end
end

-- Whether it fits once nothing is in flight.
local function would_fit(call, name, limit, asked)
  local window = node_of(call, name).w[limit[LIMIT_KEY]]
  if not window then return asked <= limit[LIMIT_AMOUNT] end
  local fits = true
  each_share(window, function(share) fits = fits and share.u + asked <= limit[LIMIT_AMOUNT] end)
  return fits
end

-- The limit that is the bottleneck x; nil: it is no window, or gone.
local function limit_at(call, x)
  local name, limit_name = string.match(x, '^(.*)|([^|]*)$')
  local config = name and node_configs(call, { name })[1]
  for _, limit in ipairs(config and config[NODE_LIMITS] or {}) do
    if limit[LIMIT_NAME] == limit_name then return name, limit end
  end
  return nil
end

local function head_fits(call, sub, name, limit)
  local _, _, id = queue.head_of(call, sub)
  local head = decode_waiter(redis.call('HGET', call.keys.waiters, id))
  return would_fit(call, name, limit, head.amounts[limit[LIMIT_RESOURCE]])
end

-- The guarded call is parked again: elsewhere, or where nothing in flight can make it fit any more.
function queue.review_guard(call, sub, x)
  local guard = guard_of(call)
  if not guard or guard.sub ~= sub then return end
  local name, limit = limit_at(call, x)
  if x ~= guard.x or not name or not head_fits(call, sub, name, limit) then queue.end_guard(call, sub) end
end

local function count_bypass(call, name, limit, x, bottleneck)
  local sub = queue.first_at(call, x)
  if not sub then return end
  local birth = queue.sub_of(call, sub).birth
  if bottleneck.first ~= birth then bottleneck.first, bottleneck.bypass = birth, 0 end
  bottleneck.bypass = bottleneck.bypass + 1
  if bottleneck.bypass < GUARD_BYPASS or call.meta.guarded == 1 then return end
  if head_fits(call, sub, name, limit) then set_guard(call, x, sub) end
end

-- Every bottleneck that a grant goes through.
local function each_bottleneck(path, class, visit)
  if class == 1 then visit('account|system', 'account') end
  for _, step in ipairs(path) do
    visit(step[1], step[1])
    for _, limit in ipairs(step[2][NODE_LIMITS]) do visit(step[1] .. '|' .. limit[LIMIT_NAME], step[1], limit) end
  end
end

-- Accounts a grant while others wait: the flow's tags, here and at every bottleneck on the path, and who was passed.
function queue.account_grant(call, path, request, flow_name, flow)
  local cost, meta = queue.cost_of(call, flow), call.meta
  flow.tag = math.max(flow.tag, meta.vtime)
  meta.vtime = flow.tag
  flow.tag = flow.tag + cost
  local missing, fields = {}, {}
  each_bottleneck(path, request.class, function(x)
    if call.bottlenecks[x] == nil then missing[#missing + 1], fields[#fields + 1] = x, 'B:' .. x end
  end)
  if #fields > 0 then
    for index, text in ipairs(redis.call('HMGET', call.keys.flows, unpack(fields))) do
      if not text then call.bottlenecks[missing[index]] = false end
    end
  end
  each_bottleneck(path, request.class, function(x, name, limit)
    local bottleneck = queue.bottleneck_of(call, x)
    if not bottleneck then return end
    local start = math.max(bottleneck.v, flow.locals[x] or 0)
    bottleneck.v = start
    queue.set_local(call, flow_name, flow, x, start + cost)
    if limit and request.amounts[limit[LIMIT_RESOURCE]] > 0 then count_bypass(call, name, limit, x, bottleneck) end
  end)
  queue.score_flow(call, flow_name, flow)
end
