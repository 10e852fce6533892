-- claim: the holder is about to send the first byte and must know that the lease still stands (rule T2).
--
-- KEYS  as in keys.ts
-- ARGV  id, fence
-- reply 1: alive for another lifetime | 0: gone, nothing may be sent
-- keeps a claimed lease's reserve charged if it expires (rule T4).

local function claim(KEYS, ARGV)
  local call = open(KEYS)
  require_tree(call)
  begin(call)
  local lease = read_lease(call, ARGV[1])
  local alive = lease and lease.v == 1 and lease.f == tonumber(ARGV[2])
  if alive then
    note_sent(call, lease)
    lease.q = 1
    write_lease(call, ARGV[1], lease)
    extend(call, ARGV[1])
  end
  conclude(call)
  return alive and 1 or 0
end

register('claim', claim, { 'allow-oom' })
