-- A tree's configuration as `configure` is sent it and as nodes keep it (fields: nodes.lua, charges.lua).

-- Reads ARGV one by one.
local function reader(ARGV)
  local position = 0
  local function text()
    position = position + 1
    return ARGV[position]
  end
  return text, function() return tonumber(text()) end
end

local function read_list(text, number, read)
  local list = {}
  for index = 1, number() do list[index] = read(text, number) end
  return list
end

local function read_limit(text, number)
  local name, resource, amount, kind, key, span = text(), number(), number(), text(), text(), text()
  if kind ~= 'C' then span = tonumber(span) end
  return { name, resource, amount, kind, key, span, text(), text(), number(), text(), text(), 0 }
end

local function read_stop(text, number)
  local name, from, until_ms, except, held, all = text(), number(), number(), text(), {}, 1
  for class = 1, 4 do
    held[class] = string.find(except, class, 1, true) and true or false
    if held[class] then all = 0 end
  end
  return { name, from, until_ms, held, all }
end

local function read_scope(text, number)
  if number() == 0 then return false end
  local scope = {}
  for index = 1, 7 do scope[index] = read_list(text, number, text) end
  scope[8] = number()
  return scope
end

local function read_node(text, number)
  local name, path, config = text(), {}, {}
  for index = 1, number() do path[index] = text() end
  config[NODE_PATH] = path
  config[NODE_CONCURRENCY], config[NODE_INTERVAL], config[NODE_BURST] = number(), number(), number()
  config[NODE_MIN], config[NODE_START], config[NODE_WEIGHT] = number(), number(), number()
  config[NODE_CLASS], config[NODE_OBSERVE], config[NODE_QUEUE] = number(), number(), number()
  local breaker = { number(), number(), number() }
  config[NODE_BREAKER] = breaker[1] >= 0 and breaker
  config[NODE_STOPS] = read_list(text, number, read_stop)
  config[NODE_PER_CALL] = read_list(text, number, function() return { number(), number(), text() } end)
  config[NODE_THRESHOLDS] = read_list(text, number, number)
  config[NODE_SCOPE] = read_scope(text, number)
  config[NODE_LIMITS] = read_list(text, number, read_limit)
  config[NODE_SCOPES], config[NODE_GUARANTEED] = {}, false
  return name, config
end

-- What nodes must know of those below them: their scope nodes, and what they promised.
local function link_nodes(nodes, order)
  for index, name in ipairs(order) do
    local config = nodes[name]
    local parent = nodes[config[NODE_PATH][2]]
    if config[NODE_SCOPE] and parent then
      local scopes = parent[NODE_SCOPES]
      scopes[#scopes + 1] = { name, index }
    end
    for _, limit in ipairs(config[NODE_LIMITS]) do
      if limit[LIMIT_GUARANTEED] >= 0 then
        config[NODE_GUARANTEED] = true
        for _, above in ipairs(nodes[limit[LIMIT_GUARANTOR]][NODE_LIMITS]) do
          if above[LIMIT_KEY] == limit[LIMIT_GUARANTOR_KEY] then
            above[LIMIT_PROMISED] = above[LIMIT_PROMISED] + limit[LIMIT_GUARANTEED]
          end
        end
      end
    end
  end
end
