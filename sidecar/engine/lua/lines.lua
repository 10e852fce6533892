-- Where sub-queues are parked (rules Q1, Q2). At a bottleneck each flow stands once, by its local tag there, whatever number
-- of sub-queues it has parked; these stand behind it by their heads, as in `heads`. In `parked`:
--
--   bottleneck, local tag, birth, flow        the place of a flow: it has one where it has a line
--   P, bottleneck, flow, round, seq, sub      its line

local function flow_place(x, tag, flow_name, flow)
  return table.concat({ x, digits(tag), digits(flow.birth), flow_name }, '\0')
end

local function line_of(x, flow_name)
  return 'P\0' .. x .. '\0' .. flow_name
end

local function line_member(sub, record)
  return table.concat({ line_of(record.x, record.flow), digits(record.round), digits(record.seq), sub }, '\0')
end

local function flow_at(x, place)
  return string.sub(place, #x + 36)
end

-- The sub-queue in a member of a line.
local function sub_in(line, member)
  return string.sub(member, #line + 36)
end

-- Changes a flow's local tag at x, and its place with it.
function queue.set_local(call, flow_name, flow, x, tag)
  local before = flow.locals[x]
  if before == tag then return end
  flow.locals[x] = tag
  if not before then return end
  if redis.call('ZREM', call.keys.parked, flow_place(x, before, flow_name, flow)) == 0 then return end
  redis.call('ZADD', call.keys.parked, 0, flow_place(x, tag, flow_name, flow))
end

-- `record`: with its x, and its head.
function queue.line_up(call, sub, record, flow)
  redis.call('ZADD', call.keys.parked, 0, line_member(sub, record), 0,
    flow_place(record.x, flow.locals[record.x], record.flow, flow))
end

function queue.step_out(call, sub, record)
  redis.call('ZREM', call.keys.parked, line_member(sub, record))
  if lex_range(call.keys.parked, line_of(record.x, record.flow), 'LIMIT', 0, 1)[1] then return end
  local flow = queue.flow_of(call, record.flow)
  redis.call('ZREM', call.keys.parked, flow_place(record.x, flow.locals[record.x], record.flow, flow))
end

local function first_in(call, x, place)
  local line = line_of(x, flow_at(x, place))
  return sub_in(line, lex_range(call.keys.parked, line, 'LIMIT', 0, 1)[1])
end

-- Who is parked first at x; nil: nobody.
function queue.first_at(call, x)
  local place = lex_range(call.keys.parked, x, 'LIMIT', 0, 1)[1]
  return place and first_in(call, x, place)
end

-- Who is parked at a woken bottleneck behind its cursor: first of the same flow, then of those behind it.
function queue.next_at(call, wake)
  if wake.tag < 0 then return queue.first_at(call, wake.x) end
  local parked, x = call.keys.parked, wake.x
  local here = table.concat({ x, digits(wake.tag), digits(wake.birth) }, '\0')
  local place = lex_range(parked, here, 'LIMIT', 0, 1)[1]
  if place then
    local line = line_of(x, flow_at(x, place))
    local from = table.concat({ '[' .. line, digits(wake.round), digits(wake.seq) }, '\0') .. '\1'
    local member = redis.call('ZRANGEBYLEX', parked, from, '(' .. line .. '\1', 'LIMIT', 0, 1)[1]
    if member then return sub_in(line, member) end
  end
  place = redis.call('ZRANGEBYLEX', parked, '[' .. here .. '\1', '(' .. x .. '\1', 'LIMIT', 0, 1)[1]
  return place and first_in(call, x, place)
end

-- All that are parked.
function queue.all_parked(call)
  local subs = {}
  for index, member in ipairs(lex_range(call.keys.parked, 'P')) do
    subs[index] = string.match(member, '^%Z*%z%Z*%z%Z*%z%Z*%z%Z*%z(.*)$')
  end
  return subs
end
