-- beat: one owner's sign of life for all its leases.
--
-- KEYS  as in keys.ts
-- ARGV  owner, known epoch ('' = none), then for each lease: id, fence
-- reply { 'alive', epoch, now logical ms, id of each lost lease … } | { 'epoch', epoch }
-- keeps a lease alive exactly as long as its owner names it.

local function beat(KEYS, ARGV)
  local owner = ARGV[1]
  local call = open(KEYS)
  require_tree(call)
  local epoch = other_epoch(call, ARGV[2])
  local reply = { 'epoch', epoch }
  if not epoch then
    reply = { 'alive', call.meta.epoch, call.meta.now_ms }
    for first = 3, #ARGV, 2 do
      local lease = read_lease(call, ARGV[first])
      if lease and lease.v == 1 and lease.f == tonumber(ARGV[first + 1]) and lease.o == owner then
        extend(call, ARGV[first])
      else
        reply[#reply + 1] = ARGV[first]
      end
    end
    note_owner(call, owner, 0)
    -- After the extensions: a beat that was only delayed must not find its own leases expired by itself. For the same
    -- reason one of an older epoch expires nothing: its owner registers next.
    reap(call)
  end
  save(call)
  return reply
end

register('beat', beat, { 'allow-oom' })
