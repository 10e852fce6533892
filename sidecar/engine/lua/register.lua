-- register: an owner tells what it still runs, and which grants it never used; after this it knows the epoch.
--
-- KEYS  as in keys.ts
-- ARGV  owner, count of disclaimed ids, those ids, then for each lease: id, fence, sent 0|1, the call (read_request)
-- reply { epoch }
-- keeps inv-I5: a lease that is still here is only extended, one that was settled stays settled, a lost one is put
--       back with its charges although that may exceed a limit: then nothing is granted until it has drained.

-- What Redis forgot is counted again, on the whole tree at least if its leaf is gone.
local function put_back(call, id, owner, fence, sent, request)
  local path = resolve_path(call, request)
  if not path then
    request.leaf = 'account'
    path = resolve_path(call, request)
  end
  if not path then return end
  local meta = call.meta
  request.class = math.max(request.class, path.class)
  meta.fence = math.max(meta.fence, fence) + 1
  local lease = { o = owner, f = fence, s = meta.fence, g = meta.now_ms, w = meta.wall_ms, m = request.longest, q = sent,
    v = 1, x = 0, c = request.class, d = 0, h = 0, p = 0, n = take_path(call, path, request, { force = true, id = id }) }
  add_lease(call, id, lease)
  extend(call, id)
  note_owner(call, owner, 1)
end

-- An expired lease whose call runs on holds its slots again; its reserve has landed and is corrected when it settles.
local function revive(call, id, lease)
  -- Reclaimed a moment ago, its slots may still be held: a call never counts twice.
  end_hold(call, id .. '\0' .. int(lease.f))
  for _, entry in ipairs(lease.n) do
    local record = touch(call, entry[1])
    record.i = record.i + 1
    if lease.c == 1 then record.y = record.y + 1 end
  end
  lease.v, lease.d = 1, lease.d > 0 and 2 or 0
  write_lease(call, id, lease)
  redis.call('ZREM', call.keys.late, id)
  extend(call, id)
  note_owner(call, lease.o, 1)
end

local function register_lease(call, owner, ARGV, first)
  local id, fence, sent = ARGV[first], tonumber(ARGV[first + 1]), tonumber(ARGV[first + 2])
  local lease = read_lease(call, id)
  if lease then
    if lease.f ~= fence or lease.o ~= owner then return end
    if lease.v == 0 then return revive(call, id, lease) end
    if lease.d == 1 then
      note_sent(call, lease)
      write_lease(call, id, lease)
    end
    extend(call, id)
  elseif not is_done(call, id) then
    local text = redis.call('HGET', call.keys.waiters, id)
    if text then queue.leave(call, id, decode_waiter(text)) end
    put_back(call, id, owner, fence, sent, read_request(ARGV, first + 3))
  end
end

local function register_owner(KEYS, ARGV)
  local owner, disclaimed = ARGV[1], tonumber(ARGV[2])
  local call = open(KEYS)
  require_tree(call)
  begin(call)
  for index = 3, 2 + disclaimed do take_back(call, ARGV[index], owner, false) end
  for first = 3 + disclaimed, #ARGV, 3 + REQUEST_COUNT do register_lease(call, owner, ARGV, first) end
  note_owner(call, owner, 0, true)
  conclude(call)
  return { call.meta.epoch }
end

register('register', register_owner, { 'allow-oom' })
