-- beat: one owner's sign of life for all its leases and waiters.
--
-- KEYS  as in keys.ts
-- ARGV  owner, known epoch ('' = none), count of leases, for each: id, fence; then the id of each waiter
-- reply { 'alive', epoch, now logical ms, next tick (-1 = none), owners with leases, { lost id … }, { id, position, eta … } of those that
--         wait, { { id, granted … | denied … } … } of those that do not } | { 'epoch', epoch }
-- keeps a lease alive exactly as long as its owner names it; whatever was pushed and not heard is told here.

local function beat_lease(call, owner, id, fence)
  local lease = read_lease(call, id)
  if not (lease and lease.v == 1 and lease.f == fence and lease.o == owner) then return false end
  if lease.d == 1 then
    note_sent(call, lease)
    write_lease(call, id, lease)
  end
  extend(call, id)
  return true
end

-- What became of a waiter before this beat; false: it still waits; nil: nobody knows it.
local function fate_of(call, owner, id)
  local text = redis.call('HGET', call.keys.waiters, id)
  if text then
    local waiter = decode_waiter(text)
    if waiter.owner ~= owner then return nil end
    queue.hear(call, id, waiter)
    return false, waiter
  end
  local lease = read_lease(call, id)
  if lease and lease.v == 1 and lease.o == owner then
    beat_lease(call, owner, id, lease.f)
    return grant_reply(call, read_lease(call, id))
  end
  return notice_of(call, id, owner, true)
end

local function beat(KEYS, ARGV)
  local owner, leases = ARGV[1], tonumber(ARGV[3])
  local call = open(KEYS)
  require_tree(call)
  local epoch = other_epoch(call, ARGV[2])
  if epoch then
    save(call)
    return { 'epoch', epoch }
  end
  begin(call)
  local lost, waiting, notices, waiters = {}, {}, {}, {}
  for first = 4, 3 + 2 * leases, 2 do
    if not beat_lease(call, owner, ARGV[first], tonumber(ARGV[first + 1])) then lost[#lost + 1] = ARGV[first] end
  end
  for index = 4 + 2 * leases, #ARGV do
    local id = ARGV[index]
    local fate, waiter = fate_of(call, owner, id)
    if fate then
      notices[#notices + 1] = { id, unpack(fate) }
    elseif waiter then
      waiters[#waiters + 1] = { id, waiter }
    else
      lost[#lost + 1] = id
    end
  end
  call.held = note_owner(call, owner, 0)
  -- After the extensions: a beat that was only delayed must not find its own leases expired by itself. For the same
  -- reason one of an older epoch expires nothing: its owner registers next.
  conclude(call)
  for _, each in ipairs(waiters) do
    local id, waiter = each[1], each[2]
    if call.outcomes[id] then
      notices[#notices + 1] = { id, unpack(call.outcomes[id]) }
    else
      waiting[#waiting + 1] = id
      waiting[#waiting + 1] = queue.position_of(call, waiter, id)
      waiting[#waiting + 1] = queue.eta_of(call, waiter)
    end
  end
  local owners = math.max(1, redis.call('HLEN', call.keys.owners))
  return { 'alive', call.meta.epoch, call.meta.now_ms, queue.next_tick(call), owners, lost, waiting, notices }
end

register('beat', beat, { 'allow-oom' })
