/** Mutants of the smaller steps by which windows, stops and places keep the rules. */
import { mutants, type Mutant } from './mutant.ts';

const WINDOWS = ['windows', 'guards-windows'];
/** Random histories, held to the reference model call by call. */
const MODEL = 'test/property/engine/model';

export const STEPS: readonly Mutant[] = [
  ...mutants('N1', 'anchored', [
    [
      'a window opens for sure only after the one before',
      'if ended then following.su = ended end',
      'following.su = 0',
      MODEL,
    ],
    [
      'a call sent before that opens nothing for sure',
      ' and period.su and ending.sent >= period.su then',
      ' then',
      WINDOWS,
    ],
    [
      'a start is known once all that may have opened it ended',
      'if period.p == 0 and period.sl then period.lo',
      'if false then period.lo',
      MODEL,
    ],
    [
      'windows that open in one millisecond are two',
      'window.s = math.max(window.s + 1, wall)',
      'window.s = wall',
      MODEL,
    ],
    [
      'a call of after the opener opens nothing',
      'local may_open = not period.hi or ending.order <= period.hf',
      'local may_open = true',
      MODEL,
    ],
    [
      'the window that opens last is waited for',
      'if not failing or (retry or 0) > (failing.retry or 0) then',
      'if not failing then',
      MODEL,
    ],
    ['a time that has passed is not told', 'if earliest > wall then retry = earliest end', 'retry = earliest', MODEL],
  ]),
  ...mutants('Q4', 'anchored', [
    [
      'a window used up by what is settled is used up',
      'if amount > limit - period.u then used_up = true end',
      '',
      MODEL,
    ],
  ]),
  ...mutants('Q4', 'meters', [
    [
      'a metered window is used up by what is settled',
      'used_up = amount > limit - window.u',
      'used_up = false',
      ['queue', 'guards-learnt'],
    ],
    ['a period that ends does not free what is reserved', ' and amount <= limit - window.r then', ' then', MODEL],
  ]),
  ...mutants('Q4', 'check', [
    [
      'a wall time is compared on the logical clock',
      'return failing.retry and failing.retry - meta.wall_ms + meta.now_ms > deadline',
      'return failing.retry and failing.retry > deadline',
      MODEL,
    ],
    [
      'what is promised to others can never fit',
      'asked > limit[LIMIT_AMOUNT] - (kept_free and kept_free(nil) or 0)',
      'asked > limit[LIMIT_AMOUNT]',
      MODEL,
    ],
    [
      'a denial tells of what opens last',
      '(not best or failing.retry and (not best.retry or failing.retry > best.retry))',
      'not best',
      ['deciders', 'guards-learnt'],
    ],
  ]),
  ...mutants('Q8', 'check', [
    ['class System has one slot at least', 'math.max(1, math.floor(limit / 2))', 'math.floor(limit / 2)', MODEL],
  ]),
  ...mutants('T4', 'settle', [
    ['a late settlement teaches nothing', '  if not late then learn(', '  if true then learn(', MODEL],
  ]),
  ...mutants('N4', 'configure', [
    [
      'a limit that is fixed now forgets what it learnt',
      'if a.c and config[NODE_MIN] < 0 then',
      'if false then',
      MODEL,
    ],
    ['a breaker that is gone is closed', 'if not config[NODE_BREAKER] then', 'if false then', MODEL],
  ]),
  ...mutants('W4', 'configure', [
    ['use of a limit of nothing is a whole one', 'if total > 0 and window.m == 0 then', 'if false then', MODEL],
    [
      'use is counted in the new amount',
      'elseif total > 0 and window.m ~= amount then',
      'elseif false then',
      'reconfigured',
    ],
  ]),
  ...mutants('W4', 'remember', [
    [
      'what is seeded is not added to what runs',
      'period.u = math.max(period.u, used - period.r)',
      'period.u = period.u + used',
      MODEL,
    ],
  ]),
  ...mutants('W4', 'charges', [
    [
      'a call that ends after its window went changes nothing',
      '  if not window then return false end\n',
      '  if not window then window = window_for(call, record, { charge.n, 1, 1, "F", charge.n, 60000 }) end\n',
      MODEL,
    ],
  ]),
  ...mutants('W6', 'paths', [
    [
      'every node of a path lowers the class',
      'path.class = math.max(path.class, found[NODE_CLASS])',
      '',
      'queue-order',
    ],
    [
      'every attribute of a scope has to match',
      'if not matches(scope[index + 1], request[name], unset_matches) then return false end',
      '',
      'nodes',
    ],
    [
      'the model of a scope has to match',
      'if not matches(scope[1], request.model, unset_matches) then return false end',
      '',
      MODEL,
    ],
  ]),
  ...mutants('N3', 'guarantees', [
    ['no more is claimed than was promised', 'return math.min(promised, amount)', 'return amount', MODEL],
  ]),
  ...mutants('N5', 'nodes', [
    [
      'a 1308 without a time closes for a minute',
      'ending.frozen >= 0 and ending.frozen or call.meta.wall_ms + 60000',
      'ending.frozen',
      ['nodes', 'guards-learnt'],
    ],
  ]),
  ...mutants('N5', 'calibrate', [
    ['a reading opens a window that is not open here', '    open_at(call, window, start, used)\n', '', 'calibrate'],
    [
      'the window held to be possible is the one that began',
      'if window.n and start >= window.n.lo - SAME_RESET_MS then',
      'if false then',
      'guards-windows',
    ],
    [
      'an earlier reset fixes no start',
      'if resets >= current.lo + window.d - SAME_RESET_MS then fix_start',
      'if true then fix_start',
      'guards-windows',
    ],
    [
      'what runs stays reserved in the new window',
      'if before then period.r, period.v, period.gc = before.r, before.v, window.gr end',
      '',
      'calibrate',
    ],
  ]),
  ...mutants('Q6', 'queue', [
    ['the earliest time counts', 'if before and tonumber(before) <= at_ms then return end', '', MODEL],
    [
      'a stopped account is not asked again at once',
      "call.root_stopped and '(' .. int(call.meta.now_ms) or '-inf'",
      "'-inf'",
      MODEL,
    ],
  ]),
  ...mutants('F6', 'dispatch', [
    [
      'a full node is looked at once',
      'if wake.x == failing.x and ENDS_WAKE[failing.reason] then table.remove(call.wakes, index) end',
      '',
      MODEL,
    ],
  ]),
  ...mutants('Q1', 'dispatch', [
    ['the turn of a flow goes on', 'flow.round = math.max(flow.round, waiter.round)', '', 'guards-order'],
  ]),
  ...mutants('Q1', 'acquire', [
    ['only the first of a sub-queue is parked', 'if head ~= id then return waiter end', '', MODEL],
    ['a leaf without a limit has no queue of its own', 'leaf and leaf[NODE_QUEUE] >= 0 and', 'leaf and', 'queue.test'],
  ]),
];
