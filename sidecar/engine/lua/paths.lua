-- Calls as callers describe them, and the nodes they are counted on: own path leaf first, model node, scope nodes.
-- Redis derives them from its own configuration; callers do not say where they are counted (rule W1).

local ATTRIBUTES = { 'tool', 'capability', 'source', 'user', 'pool', 'namespace' }

-- ARGV from `first`: the nine amounts of a call. Returned by resource index; `Tokens` is the sum of its three.
local AMOUNT_COUNT = 9

local function read_amounts(ARGV, first)
  local function at(offset) return tonumber(ARGV[first + offset]) end
  local input, cached, output = at(2), at(3), at(4)
  return { at(0), at(1), input, cached, output, saturate(input + cached + output), at(5), at(6), at(7), at(8) }
end

-- ARGV from `first`: a call as requests.ts writes it.
local REQUEST_COUNT = 14 + AMOUNT_COUNT

local function read_request(ARGV, first)
  return { leaf = ARGV[first], model = ARGV[first + 1], longest = tonumber(ARGV[first + 2]),
    class = tonumber(ARGV[first + 3]), key = ARGV[first + 4], mode = ARGV[first + 5],
    patience = tonumber(ARGV[first + 6]), place = ARGV[first + 7], tool = ARGV[first + 8], capability = ARGV[first + 9],
    source = ARGV[first + 10], user = ARGV[first + 11], pool = ARGV[first + 12], namespace = ARGV[first + 13],
    amounts = read_amounts(ARGV, first + 14) }
end

local function matches(list, value, unset_matches)
  if #list == 0 then return true end
  if value == '' then return unset_matches end
  for _, each in ipairs(list) do
    if each == value then return true end
  end
  return false
end

local function in_scope(scope, request)
  local unset_matches = scope[8] == 1
  if not matches(scope[1], request.model, unset_matches) then return false end
  for index, name in ipairs(ATTRIBUTES) do
    if not matches(scope[index + 1], request[name], unset_matches) then return false end
  end
  return true
end

-- Scope nodes below a path, in the order of the configuration.
local function scopes_below(call, path)
  local found, index = {}, 1
  local parents = { unpack(path.names) }
  while parents[index] do
    local config = node_configs(call, { parents[index] })[1]
    for _, scope in ipairs(config and config[NODE_SCOPES] or {}) do
      found[#found + 1] = { scope[1], scope[2], parents[index] }
      parents[#parents + 1] = scope[1]
    end
    index = index + 1
  end
  table.sort(found, function(a, b) return a[2] < b[2] end)
  return found
end

-- The nodes every call of this leaf and model is counted on: { names, scopes, class, weight, { name, config }, … }.
local function base_path(call, leaf, model_node)
  local key = leaf .. '\n' .. model_node
  local path = call.paths[key]
  if path then return path end
  local config = node_configs(call, { leaf })[1]
  if not config or config[NODE_SCOPE] then return nil end
  local names = { unpack(config[NODE_PATH]) }
  local own = #names
  names[#names + 1] = model_node
  path = { names = names, class = 1, weight = 1 }
  for index, found in ipairs(node_configs(call, names)) do
    if found then path[#path + 1] = { names[index], found } end
    if found and index <= own then
      path.class = math.max(path.class, found[NODE_CLASS])
      path.weight = path.weight * found[NODE_WEIGHT]
    end
  end
  path.scopes = scopes_below(call, path)
  call.paths[key] = path
  return path
end

-- The nodes a call is counted on, derived here from leaf, model and attributes (rule W1): own path leaf first, model
-- node, scope nodes. Nil: no such leaf.
local function resolve_path(call, request)
  local own = 'model:' .. request.model
  local model_node = node_configs(call, { own })[1] and own or 'model:other'
  local path = base_path(call, request.leaf, model_node)
  if not path then return nil end
  if #path.scopes > 0 then
    local matched, on_path = { class = path.class, weight = path.weight, names = { unpack(path.names) } }, {}
    for index, step in ipairs(path) do
      matched[index], on_path[step[1]] = step, true
    end
    for _, scope in ipairs(path.scopes) do
      local config = node_configs(call, { scope[1] })[1]
      if on_path[scope[3]] and in_scope(config[NODE_SCOPE], request) then
        matched[#matched + 1] = { scope[1], config }
        matched.names[#matched.names + 1], on_path[scope[1]] = scope[1], true
      end
    end
    path = matched
  end
  load_nodes(call, path.names)
  return path
end
