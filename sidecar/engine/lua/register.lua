-- register: an owner tells what it still runs, and which grants it never used; after this it knows the epoch.
--
-- KEYS  as in keys.ts
-- ARGV  owner, count of disclaimed ids, those ids, then for each lease: id, fence, leaf, model, sent 0|1, longest run
--       ms, the 7 amounts of the reserve
-- reply { epoch }
-- keeps inv-I5: a lease that is still here is only extended, one that was settled stays settled, a lost one is put
--       back with its charges although that may exceed a limit: then nothing is granted until it has drained.

-- What Redis forgot is counted again, on the whole tree at least if its leaf is gone.
local function put_back(call, id, owner, fence, ARGV, first)
  local path = resolve_path(call, ARGV[first + 2], ARGV[first + 3])
    or resolve_path(call, 'account', ARGV[first + 3])
  if not path then return end
  local meta = call.meta
  meta.fence = math.max(meta.fence, fence) + 1
  local lease = { o = owner, f = fence, s = meta.fence, g = meta.now_ms, w = meta.wall_ms, m = tonumber(ARGV[first + 5]),
    q = tonumber(ARGV[first + 4]), v = 1, x = 0, n = take_path(call, path, read_amounts(ARGV, first + 6), true) }
  write_lease(call, id, lease)
  extend(call, id)
  note_owner(call, owner, 1)
end

-- An expired lease whose call runs on holds its slots again; its reserve has landed and is corrected when it settles.
local function revive(call, id, lease)
  for _, entry in ipairs(lease.n) do
    local record = touch(call, entry[1])
    record.i = record.i + 1
  end
  lease.v = 1
  write_lease(call, id, lease)
  redis.call('ZREM', call.keys.late, id)
  extend(call, id)
  note_owner(call, lease.o, 1)
end

local function register_lease(call, owner, ARGV, first)
  local id, fence = ARGV[first], tonumber(ARGV[first + 1])
  local lease = read_lease(call, id)
  if lease then
    if lease.f ~= fence or lease.o ~= owner then return end
    if lease.v == 1 then extend(call, id) else revive(call, id, lease) end
  elseif not is_done(call, id) then
    put_back(call, id, owner, fence, ARGV, first)
  end
end

local function disclaim(call, owner, id)
  local lease = read_lease(call, id)
  if not lease then
    redis.call('ZADD', call.keys.done, int(call.meta.now_ms + LATE_MS), id)
  elseif lease.o == owner then
    give_back(call, id, lease)
  end
end

local function register_owner(KEYS, ARGV)
  local owner, disclaimed = ARGV[1], tonumber(ARGV[2])
  local call = open(KEYS)
  require_tree(call)
  for index = 3, 2 + disclaimed do disclaim(call, owner, ARGV[index]) end
  for first = 3 + disclaimed, #ARGV, 6 + AMOUNT_COUNT do register_lease(call, owner, ARGV, first) end
  note_owner(call, owner, 0)
  reap(call)
  prune(call)
  save(call)
  return { call.meta.epoch }
end

register('register', register_owner, { 'allow-oom' })
