-- Whether a call fits on its path, and what it may do if not.
--
-- Failing { reason, node, limit, used, amount, retry = wall ms or nil, used_up, never, unit, all = 1: for every class,
--   x = where its waiters park, timer = logical ms or nil }

local function failing_at(node, reason, limit, used, amount)
  return { reason = reason, node = node, limit = limit, used = used, amount = amount, x = node, unit = true }
end

-- The stop that holds a node longest for a class.
local function stop_of(config, class, wall)
  local longest, for_all
  for _, stop in ipairs(config[NODE_STOPS]) do
    local ends = stop[3] < 0 and MAX_AMOUNT or stop[3]
    if stop[2] <= wall and wall < ends and not stop[4][class] then
      if not longest or ends > longest.ends then longest = { stop = stop, ends = ends } end
      if stop[5] == 1 then for_all = true end
    end
  end
  return longest, for_all
end

local function check_closed(call, name, config, record, request, found)
  local wall, now = call.meta.wall_ms, call.meta.now_ms
  local longest, for_all = stop_of(config, request.class, wall)
  if longest then
    local failing = failing_at(name, 'Stopped', longest.stop[1], 0, 0)
    failing.used_up, failing.all = true, for_all
    if longest.ends < MAX_AMOUNT then failing.retry = longest.ends end
    found[#found + 1] = failing
  end
  local a = record.a
  if not a then return end
  if a.fz and wall < a.fz then
    local failing = failing_at(name, 'Frozen', 'vendor', 0, 0)
    failing.used_up, failing.all, failing.retry = true, true, a.fz
    found[#found + 1] = failing
  end
  if a.pz and now < a.pz then
    local failing = failing_at(name, 'Rate', 'pause', 0, 0)
    failing.all, failing.retry = true, a.pz - now + wall
    found[#found + 1] = failing
  end
  if config[NODE_BREAKER] and (a.bo or 0) > 0 and (now < a.bo or a.bp ~= '') then
    local failing = failing_at(name, 'Breaker', 'breaker', 0, 0)
    failing.all = true
    if now < a.bo then failing.retry = a.bo - now + wall end
    found[#found + 1] = failing
  end
end

local function check_slots(call, name, config, record, found)
  local a = adaptive_of(call, name, config, record)
  local limit = a and a.c or config[NODE_CONCURRENCY]
  if limit < 0 or record.i < limit then return end
  local failing = failing_at(name, 'Concurrency', 'concurrency', record.i, limit)
  failing.all = true
  if a then
    local now = call.meta.now_ms
    local may_grow = a.pr == '' and a.c < config[NODE_CONCURRENCY]
    if may_grow and record.i == a.c and a.sat >= 0 and now - math.max(a.sat, a.ch) >= a.P then return end
    if a.sat < 0 then
      a.sat = now
      call.marks[name] = true
    end
    if may_grow and record.i == a.c then failing.timer = math.max(a.sat, a.ch) + a.P end
  end
  found[#found + 1] = failing
end

-- Class System is the 8 of 8:4:2:1, not the first of all (rule Q8).
local function check_system(call, config, record, found)
  local limit = concurrency_of(call, 'account', config, record)
  if limit < 0 then return end
  local meta, most = call.meta, math.max(1, math.floor(limit / 2))
  local turn_of_others = limit == 1 and meta.last_system == 1 and meta.runnable_others > 0
  if record.y < most and not turn_of_others then return end
  local failing = failing_at('account', 'Waiting', 'system', record.y, most)
  failing.unit, failing.x = false, 'account|system'
  found[#found + 1] = failing
end

local function check_amounts(call, name, config, record, request, found, own)
  for _, most in ipairs(config[NODE_PER_CALL]) do
    local asked = request.amounts[most[1]]
    if asked > most[2] then
      local failing = failing_at(name, 'PerCall', 'per-call ' .. most[3], asked, most[2])
      failing.unit, failing.never = false, true
      found[#found + 1] = failing
      break
    end
  end
  for _, limit in ipairs(config[NODE_LIMITS]) do
    local asked = request.amounts[limit[LIMIT_RESOURCE]]
    local kept_free = kept_free_of(call, limit, own and own[limit[LIMIT_NAME]])
    local missing = check_limit(call, record, limit, asked, kept_free)
    if missing then
      local failing = failing_at(name, 'Window', limit[LIMIT_NAME], missing.used, limit[LIMIT_AMOUNT])
      failing.unit, failing.x = false, name .. '|' .. limit[LIMIT_NAME]
      failing.retry, failing.used_up = missing.retry, missing.used_up
      -- Not even with nothing used: what it promised to others counts as well.
      failing.never = asked > limit[LIMIT_AMOUNT] - (kept_free and kept_free(nil) or 0)
      -- Calls of siblings may hold a shared window open; their end wakes only its owner.
      if limit[LIMIT_KIND] == 'P' and not missing.retry then failing.timer = call.meta.now_ms + GUARD_MS end
      found[#found + 1] = failing
    end
  end
end

-- `own`: by limit name, the nearest share below this node on the path.
local function check_node(call, step, request, found, own)
  local name, config = step[1], step[2]
  local record = node_of(call, name)
  check_closed(call, name, config, record, request, found)
  if config[NODE_OBSERVE] == 0 then
    check_slots(call, name, config, record, found)
    if name == 'account' and request.class == 1 then check_system(call, config, record, found) end
    if config[NODE_INTERVAL] > 0 then
      local opens = check_rate(record, interval_of(call, config, record), config[NODE_BURST], call.meta.now_us)
      if opens then
        local failing = failing_at(name, 'Rate', 'rate', 0, config[NODE_BURST])
        failing.all, failing.retry = true, math.ceil(opens / 1000) + call.meta.wall_ms - call.meta.now_ms
        found[#found + 1] = failing
      end
    end
    check_amounts(call, name, config, record, request, found, own)
  end
  queue.check_guard(call, name, config, request, found)
end

-- The shares with a promise that the next nodes above may keep free for this call.
local function note_shares(call, step, own)
  for _, limit in ipairs(step[2][NODE_LIMITS]) do
    local promised = limit[LIMIT_GUARANTEED] >= 0
    own[limit[LIMIT_NAME]] = promised and { record = node_of(call, step[1]), limit = limit } or nil
  end
end

-- All that fails, in path order; empty: it fits.
local function check_path(call, path, request)
  local found, own = {}, {}
  local learning = learning_until(call)
  if learning then
    local failing = failing_at('account', 'Learning', 'learning', 0, 0)
    failing.all, failing.retry = true, learning - call.meta.now_ms + call.meta.wall_ms
    found[1] = failing
  end
  for _, step in ipairs(path) do
    check_node(call, step, request, found, own)
    note_shares(call, step, own)
  end
  return found
end

-- What a denial tells: a stop; else the failing limit that opens last, one whose time is unknown yields to one known.
local function best_of(found, only_used_up)
  local best
  for _, failing in ipairs(found) do
    if failing.reason == 'Stopped' then return failing end
    local counts = not only_used_up or failing.used_up
    if counts and (not best or failing.retry and (not best.retry or failing.retry > best.retry)) then best = failing end
  end
  return best
end

local function first_that(found, wanted)
  for _, failing in ipairs(found) do
    if wanted(failing) then return failing end
  end
  return nil
end

-- Refuses (first value: the failing to tell), or says where to wait (second value; `root`: nobody can be served now).
local function refuse_or_wait(call, found, mode, deadline)
  local meta = call.meta
  local never = first_that(found, function(failing) return failing.never end)
  if never then return never end
  local best = best_of(found)
  if mode == 'R' then return best end
  local endless = first_that(found, function(failing) return failing.reason == 'Stopped' and not failing.retry end)
  if endless then return endless end
  if mode == 'S' and first_that(found, function(failing) return failing.used_up end) then return best_of(found, true) end
  local late = first_that(found, function(failing)
    return failing.retry and failing.retry - meta.wall_ms + meta.now_ms > deadline
  end)
  if late then return best end
  -- What keeps out everybody, at the account, is waited for by all alike; whatever else fails comes first.
  local root, others = nil, {}
  for _, failing in ipairs(found) do
    if failing.node == 'account' and failing.unit and failing.all then
      root = root or failing
    elseif failing.x ~= 'account|system' then
      others[#others + 1] = failing
    end
  end
  if root and #others > 0 then return nil, best_of(others), false end
  return nil, root or best, root ~= nil
end

local function denial_of(call, failing)
  return { 'denied', failing.reason, failing.node, failing.limit, int(failing.used), int(failing.amount),
    failing.retry or -1, call.meta.wall_ms }
end
