-- What a node learns from the vendor's answers: adaptive concurrency, pauses, stretched rates, breaker, freeze.
-- All times logical ms unless said. Kept in the node record's `a`, each part only once it was needed:
--   c, ch, P, sat, pr, de, hr, ce = adaptive limit, when it changed, pause before a probe, saturated since (-1), lease of
--     the probe (''), last decrease, hour of the day, what each hour ended with (-1)
--   st, sta = stretch of the rate (permille) and when it changed; pz = paused until; k = overloads in a row
--   bc, bf, bs, bo, bp = breaker: calls, failures, since, open until (0 = closed), lease of the probe
--   fz, fs = frozen until and since (wall); lm, la = model and time of the last refusal for concurrency (account only)

local NODE_PATH, NODE_CONCURRENCY, NODE_INTERVAL, NODE_BURST, NODE_STOPS, NODE_LIMITS = 1, 2, 3, 4, 5, 6
local NODE_MIN, NODE_START, NODE_PER_CALL, NODE_SCOPE, NODE_WEIGHT, NODE_CLASS = 7, 8, 9, 10, 11, 12
local NODE_OBSERVE, NODE_QUEUE, NODE_BREAKER, NODE_THRESHOLDS, NODE_SCOPES, NODE_GUARANTEED = 13, 14, 15, 16, 17, 18
local PROBE_MS, MAX_PROBE_MS, FAST_PROBE_MS = 30000, 600000, 1000

local function clamp(value, low, high)
  return math.max(low, math.min(high, value))
end

local function learnt(record)
  if not record.a then record.a = {} end
  return record.a
end

local function hour_of(call)
  return math.floor(call.meta.wall_ms / 3600000) % 24
end

-- The adaptive state brought up to the clock; nil: the limit is fixed. Changes are kept even if the call takes nothing.
local function adaptive_of(call, name, config, record)
  if config[NODE_MIN] < 0 then return nil end
  local a, now, hour = learnt(record), call.meta.now_ms, hour_of(call)
  if not a.c then
    a.c, a.ch, a.P = clamp(config[NODE_START], config[NODE_MIN], config[NODE_CONCURRENCY]), now, PROBE_MS
    a.sat, a.pr, a.de, a.hr, a.ce = -1, '', -1, hour, {}
    for index = 1, 24 do a.ce[index] = -1 end
    call.marks[name] = true
  elseif a.hr ~= hour then
    a.hr = hour
    local ceiling = a.ce[hour + 1]
    if ceiling >= 0 and ceiling < a.c then
      a.c, a.ch = math.max(config[NODE_MIN], ceiling), now
    elseif ceiling > a.c then
      a.P = FAST_PROBE_MS
    end
    call.marks[name] = true
  end
  return a
end

-- The limit on calls in flight that is in force, -1 = none.
local function concurrency_of(call, name, config, record)
  local a = adaptive_of(call, name, config, record)
  return a and a.c or config[NODE_CONCURRENCY]
end

local function stretch_of(call, record)
  local a = record.a
  if not a or not a.st then return 1000 end
  while a.st > 1000 and call.meta.now_ms - a.sta >= 60000 do
    a.st, a.sta = math.max(1000, math.floor(a.st * 9 / 10)), a.sta + 60000
  end
  return a.st
end

local function interval_of(call, config, record)
  return math.floor(config[NODE_INTERVAL] * stretch_of(call, record) / 1000)
end

-- The probe's own call ended.
local function end_probe(call, config, a, outcome, answered)
  local now = call.meta.now_ms
  a.pr, a.ch = '', now
  if (outcome == 'completed' or outcome == 'brokeMidStream') and answered then
    local hour = hour_of(call) + 1
    a.c, a.sat = math.min(config[NODE_CONCURRENCY], a.c + 1), -1
    -- What the hour once allowed is known still: the way there is climbed fast.
    a.ce[hour] = math.max(a.ce[hour], a.c)
    a.P = a.ce[hour] > a.c and FAST_PROBE_MS or PROBE_MS
  elseif outcome == 'refusedConcurrency' then
    a.P = math.min(2 * a.P, MAX_PROBE_MS)
  end
end

local function shrink(call, config, record, a)
  local now = call.meta.now_ms
  local sent = record.i - record.z
  a.c = math.max(config[NODE_MIN], math.min(a.c, sent - 1))
  a.P, a.ch, a.de, a.sat, a.pr = PROBE_MS, now, now, -1, ''
  a.ce[hour_of(call) + 1] = a.c
end

-- A refusal right after a hand-off says that the vendor counts longer than we do, not that the limit is lower (rule T6).
-- Another one soon after blames the limit; where that can be no lower, the hold again if it has changed since the grant.
-- True: it is not the limit.
local function blame_hold(call, lease, ending, record, limit, least)
  local meta = call.meta
  if lease.d == 0 or ending.sent_after > 500 or record.i > limit then return false end
  local first = meta.held_at == 0 or meta.now_ms - meta.held_at > 30000
  if first or limit <= least and lease.g >= meta.held_at then
    meta.hold_ms = meta.hold_ms == 0 and 50 or math.min(800, meta.hold_ms * 2)
    meta.held_at = meta.now_ms
  end
  return first
end

-- Two models refused within two seconds: then it is the account's limit as well (rule M1).
local function shrink_account(call, model_node)
  local config = config_of(call, 'account')
  local record = touch(call, 'account')
  local account = config and adaptive_of(call, 'account', config, record)
  if not account then return end
  local now = call.meta.now_ms
  if account.lm and account.lm ~= model_node and now - account.la <= 2000 then shrink(call, config, record, account) end
  account.lm, account.la = model_node, now
end

local function learn_concurrency(call, id, lease, ending, model_node)
  for _, entry in ipairs(lease.n) do
    local config, record = config_of(call, entry[1]), node_of(call, entry[1])
    local a = config and config[NODE_MIN] >= 0 and adaptive_of(call, entry[1], config, record)
    if a and a.pr == id then
      touch(call, entry[1])
      end_probe(call, config, a, ending.outcome, ending.answered)
      if entry[1] == model_node then ending.was_probe = true end
    end
  end
  if ending.outcome ~= 'refusedConcurrency' or not model_node then return end
  local config, record = config_of(call, model_node), touch(call, model_node)
  if not config then return end
  if not ending.was_probe then
    local a = adaptive_of(call, model_node, config, record)
    local limit = a and a.c or config[NODE_CONCURRENCY]
    local least = a and config[NODE_MIN] or limit
    if limit >= 0 and blame_hold(call, lease, ending, record, limit, least) then return end
    if a and lease.g + ending.sent_after >= a.de then shrink(call, config, record, a) end
  end
  shrink_account(call, model_node)
end

local function learn_pace(call, lease, outcome, model_node)
  local now = call.meta.now_ms
  if outcome == 'refusedRate' then
    local record = touch(call, model_node)
    local a, stretch = learnt(record), stretch_of(call, record)
    a.st, a.sta = math.min(4000, math.floor(stretch * 5 / 4)), now
    a.pz = math.max(a.pz or 0, now + a.st)
  elseif outcome == 'refusedOverload' or outcome == 'failedBeforeFirstByte' then
    local a = learnt(touch(call, model_node))
    a.k = math.min((a.k or 0) + 1, 6)
    local half = 250 * 2 ^ a.k
    -- Not of the whole fence: the product would be past 2^53.
    a.pz = math.max(a.pz or 0, now + half + lease.f % (half + 1) * 7919 % (half + 1))
  elseif outcome == 'completed' then
    local record = node_of(call, model_node)
    if record.a and (record.a.k or 0) > 0 then touch(call, model_node).a.k = 0 end
  end
end

local function learn_failures(call, id, outcome, model_node)
  local config = config_of(call, model_node)
  local breaker = config and config[NODE_BREAKER]
  if not breaker then return end
  local good = outcome == 'completed' or outcome == 'brokeMidStream'
  local bad = outcome == 'refusedOverload' or outcome == 'failedBeforeFirstByte'
  local before = node_of(call, model_node).a
  if not (before and before.bc) and not (good or bad) then return end
  local now, a = call.meta.now_ms, learnt(touch(call, model_node))
  if not a.bc then a.bc, a.bf, a.bs, a.bo, a.bp = 0, 0, now, 0, '' end
  if a.bp == id then
    a.bp = ''
    if good then a.bo, a.bc, a.bf, a.bs = 0, 0, 0, now end
    if bad then a.bo = now + breaker[3] end
    return
  end
  if a.bo > 0 or not (good or bad) then return end
  if now - a.bs >= 60000 then a.bc, a.bf, a.bs = 0, 0, now end
  a.bc = a.bc + 1
  if bad then a.bf = a.bf + 1 end
  if a.bc >= breaker[2] and a.bf * 100 >= breaker[1] * a.bc then a.bo, a.bc, a.bf = now + breaker[3], 0, 0 end
end

local function freeze_node(call, name, until_ms)
  local a = learnt(touch(call, name))
  a.fz, a.fs = until_ms, call.meta.wall_ms
end

local function model_node_of(lease)
  for _, entry in ipairs(lease.n) do
    if string.sub(entry[1], 1, 6) == 'model:' then return entry[1] end
  end
  return nil
end

-- Everything the end of a lease teaches. ending.outcome nil: it expired.
local function learn(call, id, lease, ending)
  local model_node, outcome = model_node_of(lease), ending.outcome
  learn_concurrency(call, id, lease, ending, model_node)
  if not model_node then return end
  learn_pace(call, lease, outcome, model_node)
  learn_failures(call, id, outcome, model_node)
  if outcome == 'refusedQuota' then
    local frozen = ending.frozen >= 0 and ending.frozen or call.meta.wall_ms + 60000
    if frozen > call.meta.wall_ms then
      local before = node_of(call, 'account').a
      freeze_node(call, 'account', math.max(before and before.fz or 0, frozen + GUARD_MS))
    end
  end
end

local function decay_hold(meta)
  if meta.hold_ms == 0 or meta.now_ms - meta.held_at < 600000 then return end
  meta.hold_ms = meta.hold_ms <= 50 and 0 or math.floor(meta.hold_ms / 2)
  meta.held_at = meta.now_ms
end

-- Takes one call in flight. how: force = it runs already, dispatched = granted out of the queue.
local function take_slot(call, name, config, record, request, how)
  local a = adaptive_of(call, name, config, record)
  if a and not how.force then
    if record.i >= a.c then
      if a.pr == '' then a.pr = how.id end
    elseif record.i + 1 < a.c then
      a.sat = -1
    end
  end
  if config[NODE_BREAKER] and record.a and (record.a.bo or 0) > 0 and record.a.bp == '' and not how.force then
    record.a.bp = how.id
  end
  record.i = record.i + 1
  if how.dispatched then record.z = record.z + 1 end
  if request.class == 1 then record.y = record.y + 1 end
end

-- The waiting room (queue.lua, dispatch.lua); endings of leases wake it.
local queue = {}
