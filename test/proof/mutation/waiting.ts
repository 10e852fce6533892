/** Mutants of the waiting room: Q1 to Q9, and who hears of it. */
import { mutants, type Mutant } from './mutant.ts';

export const WAITING: readonly Mutant[] = [
  ...mutants('no barging', 'acquire', [
    ['nobody passes who waits', ' and may_go_first(call, request) then', ' then', ['guards-waiting', 'queue'], 'fast'],
    ['nobody passes who is about to be looked at', 'if #call.wakes > 0 or', 'if', 'guards-waiting'],
    [
      'nobody passes the same sub-queue',
      '#call.wakes > 0 or queue.sub_of(call, request.sub)',
      '#call.wakes > 0',
      'guards-waiting',
    ],
    [
      'nobody passes who may be dispatched',
      "if redis.call('ZCARD', call.keys.runnable) > 0 then return false end",
      '',
      'guards-waiting',
    ],
    [
      'nobody passes whose timer is due',
      "return redis.call('ZCOUNT', call.keys.timers, '-inf', int(call.meta.now_ms)) == 0",
      'return true',
      'guards-waiting',
    ],
  ]),
  ...mutants('Q1', 'queue', [
    ['models of a flow queue apart', '{ flow, request.model }', '{ flow }', 'guards-waiting'],
    [
      'attributes of a flow queue apart',
      'for _, name in ipairs(ATTRIBUTES) do parts[#parts + 1] = request[name] end',
      '',
      'guards-waiting',
    ],
    [
      'a fairness key makes a flow',
      'request.leaf, request.class, request.key',
      'request.leaf, request.class',
      'guards-waiting',
    ],
  ]),
  ...mutants('Q1', 'turns', [
    ['owners take turns', 'math.max(flow.round, last + 1)', 'flow.round', 'queue'],
    [
      'who comes back to a flow that began anew is no later than a newcomer',
      'math.min(kept or round, round)',
      'kept or round',
      'queue-bounds',
    ],
    ['a turn is forgotten in time', 'int(math.max(until_ms, request.deadline))', 'int(MAX_AMOUNT)', 'queue-bounds'],
  ]),
  ...mutants('Q1', 'govern', [
    ['a reclaimed owner has no turn', "elseif string.sub(id, 1, 2) == 'T:'", 'elseif false', 'queue-bounds'],
    [
      'the mark of a process of which nothing is left ends',
      'if process and leases + waiters == 0 then end_mark(call, process) end',
      '',
      'queue-bounds',
    ],
    [
      'not before nothing is left',
      'if process and leases + waiters == 0 then end_mark(call, process) end',
      'if process then end_mark(call, process) end',
      'queue-bounds',
    ],
    [
      'a mark that ended is forgotten',
      'if until_ms and until_ms <= call.meta.now_ms then set_draining(call, process, false) end',
      '',
      'queue-bounds',
    ],
  ]),
  ...mutants('Q2', 'queue', [
    [
      'who is parked stands by its local tag',
      'math.max(queue.bottleneck_at(call, x).v, flow.locals[x] or 0)',
      '0',
      'queue',
    ],
    [
      'a flow that nobody waits in keeps what it owes at a bottleneck',
      'if bottleneck and finish > bottleneck.v then return true end',
      '',
      'queue-bounds',
    ],
    ['weights make shares', 'math.floor(TAG_SCALE / weight)', 'TAG_SCALE', 'queue'],
    [
      'who comes back is not behind virtual time',
      '  flow.tag = math.max(flow.tag, call.meta.vtime)\n  queue.score_flow',
      '  queue.score_flow',
      'guards-order',
    ],
  ]),
  ...mutants('Q2', 'guard', [
    ['a grant costs its flow', 'flow.tag = flow.tag + cost', '', 'queue'],
    ['virtual time does not go back', 'flow.tag = math.max(flow.tag, meta.vtime)', '', 'guards-order'],
    ['virtual time goes on', '  meta.vtime = flow.tag\n', '', 'guards-order'],
    ['a grant costs its flow at the bottleneck', 'flow, x, start + cost)', 'flow, x, start)', 'queue'],
  ]),
  ...mutants('Q2', 'dispatch', [
    [
      'after a grant the rest stands in line again',
      'if record and charged then queue.park',
      'if false then queue.park',
      'guards-order',
    ],
  ]),
  ...mutants('Q3', 'check', [
    ['a full account stops the dispatch', 'return nil, root or best, root ~= nil', 'return nil, best, false', 'queue'],
    ['a stop of some classes does not', 'failing.unit and failing.all then', 'failing.unit then', 'guards-waiting'],
  ]),
  ...mutants('Q3', 'check', [
    [
      'who waits for more than the account parks there',
      'if root and #others > 0 then return nil, best_of(others), false end',
      '',
      'guards-order',
    ],
  ]),
  ...mutants('Q2', 'dispatch', [
    ['who was moved in vain goes back', 'if call.root_stopped then return_moved(call) end', '', 'guards-order'],
  ]),
  ...mutants('Q4', 'check', [
    ['a call that is too late for its deadline is denied', 'if late then return best end', '', 'queue', 'fast'],
    ['UntilSlot does not wait for a window', "if mode == 'S' and", 'if false and', 'queue'],
    ['nobody waits for a stop without end', 'if endless then return endless end', '', 'queue'],
    ['nobody waits for what can never fit', 'if never then return never end', '', 'nodes'],
    ['a call of mode Reject does not wait', "if mode == 'R' then return best end", '', 'reconfigured'],
    ['a stop is what a denial tells', "if failing.reason == 'Stopped' then return failing end", '', 'guards-order'],
    [
      'the stop that lasts longest is told',
      'if not longest or ends > longest.ends then',
      'if not longest then',
      'guards-order',
    ],
    [
      'UntilSlot does not wait for the end of a stop',
      'failing.used_up, failing.all = true, for_all',
      'failing.all = for_all',
      'guards-order',
    ],
  ]),
  ...mutants('Q4', 'acquire', [
    [
      'a call that may not wait is denied when others are first',
      "elseif request.mode == 'R' then",
      'elseif false then',
      'guards-order',
    ],
    ['a denial is told again while it is kept', 'if notice then return notice end', '', 'guards.test'],
    ['a denial that was told is forgotten', '  if tell then\n', '  if false then\n', 'guards-order'],
  ]),
  ...mutants('Q4', 'dispatch', [
    ['past its deadline a waiter is denied', 'if waiter.deadline <= meta.now_ms then', 'if false then', 'queue'],
  ]),
  ...mutants('Q5', 'guard', [
    [
      'a passed call is kept free',
      'if head_fits(call, sub, name, limit) then set_guard(call, x, sub) end',
      '',
      'queue',
    ],
    [
      'only what can fit is kept free',
      'if head_fits(call, sub, name, limit) then set_guard(call, x, sub) end',
      'set_guard(call, x, sub)',
      'guards-waiting',
    ],
    [
      'another first has not been passed yet',
      'if bottleneck.first ~= birth then bottleneck.first, bottleneck.bypass = birth, 0 end',
      '',
      'guards-order',
    ],
    ['one guard a tree', ' or call.meta.guarded == 1 then return end', ' then return end', 'guards-waiting'],
    ['the guarded call itself may take', 'not guard or request.head_of == guard.sub', 'not guard', 'queue'],
    [
      'a guard ends where it can no longer help',
      'if x ~= guard.x or not name or not head_fits(call, sub, name, limit) then queue.end_guard',
      'if false then queue.end_guard',
      'guards-waiting',
    ],
    [
      'calls that need nothing of the window pass',
      ' and request.amounts[limit[LIMIT_RESOURCE]] > 0 then\n      local',
      ' then\n      local',
      'guards-waiting',
    ],
  ]),
  ...mutants('Q5', 'queue', [
    ['a guard ends with its call', 'if first == id then queue.end_guard(call, waiter.sub) end', '', 'guards-wakes'],
  ]),
  ...mutants('Q7', 'swap', [
    ['a retry goes to the head of its flow', 'again and place or nil', 'nil', 'queue'],
    [
      'a retry of a lease that is gone is over',
      "if again and settled[1] == 'unknown' then",
      'if false then',
      'guards-waiting',
    ],
    [
      'a denied retry is over',
      "if again and reply and reply[1] == 'denied' then bury(call, id) end",
      '',
      'guards-waiting',
    ],
    ['a stale retry is over', 'if again then bury(call, id) end\n', '', 'guards-waiting'],
    ['a draining process may retry', 'elseif not again and is_draining', 'elseif is_draining', 'guards-waiting'],
    [
      'a draining process gets nothing new by swap',
      'elseif not again and is_draining(call, request.owner) then',
      'elseif false then',
      'guards-waiting',
    ],
  ]),
  ...mutants('Q8', 'check', [
    ['class System has half the slots', 'if record.y < most and not turn_of_others', 'if not turn_of_others', 'queue'],
    [
      'at one slot the others have their turn',
      'if record.y < most and not turn_of_others',
      'if record.y < most',
      'queue',
    ],
    ['only if they could use it', ' and meta.runnable_others > 0', '', 'guards-waiting'],
  ]),
  ...mutants('Q9', 'swap', [['a swap asks as a newcomer', 'again and place or nil', 'place', 'guards-waiting']]),
  ...mutants('bounds', 'acquire', [
    ['what is over frees its slot before the decision', '  reap(call)\n  call.reaped = true\n', '', 'leases'],
    [
      'a kept denial ends',
      ' or tonumber(until_ms) <= call.meta.now_ms then return nil end\n  if tell',
      ' then return nil end\n  if tell',
      'guards-bounds',
    ],
    ['the queue of a leaf is bounded', 'if waiting >= leaf[NODE_QUEUE] then', 'if false then', 'queue'],
    ['the queue of the account is bounded', 'flow >= account[NODE_QUEUE]', 'false', 'queue'],
    [
      'a draining process gets nothing new',
      'elseif is_draining(call, request.owner) then',
      'elseif false then',
      'nodes',
    ],
    [
      'asking again may ask for longer',
      'math.max(waiter.deadline, deadline_of(call, request))',
      'waiter.deadline',
      'guards-waiting',
    ],
  ]),
  ...mutants('bounds', 'dispatch', [
    ['a silent waiter leaves', '  else\n    queue.leave(call, id, waiter)\n', '  else\n', 'queue'],
    [
      'a grant is published',
      'call.outcomes[id] = reply\n  push(call, waiter.owner, id, reply)',
      'call.outcomes[id] = reply',
      'queue',
    ],
    ['a denial is published', "'N:' .. id)\n  push(call, waiter.owner, id, reply)", "'N:' .. id)", 'guards-waiting'],
    [
      'a denial is kept for the next beat',
      "redis.call('HSET', call.keys.waiters, 'N:' .. id, pack({ waiter.owner, reply }))",
      '',
      'queue',
    ],
  ]),
  ...mutants('bounds', 'beat', [
    ['a beat keeps a waiter', 'queue.hear(call, id, waiter)', '', 'queue'],
    ['a beat keeps a lease', '  extend(call, id)\n', '', 'leases'],
  ]),
];
