-- tick: does what is due by time: holds, expiries, waiters, timers.
--
-- KEYS  as in keys.ts
-- ARGV  none
-- reply { now logical ms, next tick logical ms (-1 = nothing is due by time) }

local function tick(KEYS)
  local call = open(KEYS)
  require_tree(call)
  begin(call)
  conclude(call)
  return { call.meta.now_ms, queue.next_tick(call) }
end

register('tick', tick, { 'allow-oom' })
