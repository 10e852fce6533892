-- Checkpoints of the ledger: once an hour the whole tree as its records stand, so that a replay can begin there when
-- earlier entries are gone; also where the reference model cannot follow (calibration, remembered uses) or missed entries.
--
-- { 'state', 1: the last part, suffix of the key, { field, value … } of a hash, { member, score … } of a sorted set }; a
-- key has as many parts as it needs. What follows from the rest is left out: places of waiters, heads, expired leases by
-- age. Of the finished ids only the latest are kept: others are asked for again only by mistake.

local STATE_HASHES = { 'meta', 'nodes', 'leases', 'owners', 'waiters', 'flows' }
local STATE_SETS = { 'expiries', 'patience', 'timers', 'holds' }
local STATE_PART_BYTES, STATE_DONE = 32768, 1000

-- The first call of an hour.
function ledger.is_due(call)
  local every_us = CHECKPOINT_MS * 1000
  return not call.fresh and math.floor(call.wall_was / every_us) ~= math.floor(call.meta.wall_us / every_us)
end

local function suffix_of(key)
  return string.sub(key, -1)
end

local function write_part(call, suffix, items, last)
  ledger.append(call, { 'state', last and 1 or 0, suffix, items })
end

local function write_state(call, key, items)
  local part, size = {}, 0
  for index = 1, #items, 2 do
    part[#part + 1], part[#part + 2] = items[index], items[index + 1]
    size = size + #items[index] + #items[index + 1]
    if size >= STATE_PART_BYTES then
      write_part(call, suffix_of(key), part)
      part, size = {}, 0
    end
  end
  if #part > 0 then write_part(call, suffix_of(key), part) end
end

function ledger.checkpoint(call)
  local keys = call.keys
  -- As it will be written at the end of the call.
  redis.call('HSET', keys.meta, STATE, encode_meta(call.meta))
  for _, name in ipairs(STATE_HASHES) do write_state(call, keys[name], redis.call('HGETALL', keys[name])) end
  for _, name in ipairs(STATE_SETS) do
    write_state(call, keys[name], redis.call('ZRANGE', keys[name], 0, -1, 'WITHSCORES'))
  end
  write_state(call, keys.done, redis.call('ZRANGE', keys.done, 0, STATE_DONE - 1, 'REV', 'WITHSCORES'))
  local config = redis.call('HMGET', keys.config, 't', 'j')
  write_part(call, suffix_of(keys.config), { 't', config[1], 'j', config[2] }, true)
end
