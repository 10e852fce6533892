/** Mutants of the smaller steps by which windows, stops and places keep the rules. */
import { mutants, type Mutant } from './mutant.ts';

const WINDOWS = ['windows', 'guards-windows', 'guards-steps'];

export const STEPS: readonly Mutant[] = [
  ...mutants('N1', 'anchored', [
    [
      'a following window of refunds only does not open',
      'if following and following.k > 0 then',
      'if following then',
      WINDOWS,
    ],
    [
      'a window opens for sure only after the one before',
      'if ended then following.su = ended end',
      'following.su = 0',
      WINDOWS,
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
      WINDOWS,
    ],
    ['a charge counts from its own window on', '    if period.s < charge.k then return end\n', '', WINDOWS],
    [
      'windows that open in one millisecond are two',
      'window.s = math.max(window.s + 1, wall)',
      'window.s = wall',
      WINDOWS,
    ],
    [
      'a call of after the opener opens nothing',
      'local may_open = not period.hi or ending.order <= period.hf',
      'local may_open = true',
      WINDOWS,
    ],
    [
      'a window opens no earlier than the one before allows',
      'local sent = math.max(ending.sent, period.fl)',
      'local sent = ending.sent',
      WINDOWS,
    ],
    [
      'the window that opens last is waited for',
      'if not failing or (retry or 0) > (failing.retry or 0) then',
      'if not failing then',
      WINDOWS,
    ],
    ['a time that has passed is not told', 'if earliest > wall then retry = earliest end', 'retry = earliest', WINDOWS],
  ]),
  ...mutants('Q4', 'anchored', [
    [
      'a window used up by what is settled is used up',
      'if amount > limit - period.u then used_up = true end',
      '',
      ['queue', 'guards-steps'],
    ],
  ]),
  ...mutants('Q4', 'meters', [
    [
      'a metered window is used up by what is settled',
      'used_up = amount > limit - window.u',
      'used_up = false',
      ['queue', 'guards-steps'],
    ],
    ['a period that ends does not free what is reserved', ' and amount <= limit - window.r then', ' then', WINDOWS],
  ]),
  ...mutants('Q4', 'check', [
    [
      'a wall time is compared on the logical clock',
      'return failing.retry and failing.retry - meta.wall_ms + meta.now_ms > deadline',
      'return failing.retry and failing.retry > deadline',
      ['queue', 'guards-steps'],
    ],
    [
      'what is promised to others can never fit',
      'asked > limit[LIMIT_AMOUNT] - (kept_free and kept_free(nil) or 0)',
      'asked > limit[LIMIT_AMOUNT]',
      ['nodes', 'guards-steps'],
    ],
    [
      'a denial tells of what opens last',
      '(not best or failing.retry and (not best.retry or failing.retry > best.retry))',
      'not best',
      ['deciders', 'guards-steps'],
    ],
  ]),
  ...mutants('Q8', 'check', [
    [
      'class System has one slot at least',
      'math.max(1, math.floor(limit / 2))',
      'math.floor(limit / 2)',
      'queue-order',
    ],
  ]),
  ...mutants('T4', 'settle', [
    [
      'a late settlement teaches nothing',
      '  if not late then learn(',
      '  if true then learn(',
      ['leases', 'guards-steps'],
    ],
  ]),
  ...mutants('T4', 'cancel', [
    ['nor does what is given back late', '  if live then learn(', '  if true then learn(', ['leases', 'guards-steps']],
  ]),
  ...mutants('N4', 'configure', [
    [
      'a limit that is fixed now forgets what it learnt',
      'if a.c and config[NODE_MIN] < 0 then',
      'if false then',
      ['reconfigured', 'guards-steps'],
    ],
    [
      'a breaker that is gone is closed',
      'if not config[NODE_BREAKER] then',
      'if false then',
      ['reconfigured', 'guards-steps'],
    ],
  ]),
  ...mutants('W4', 'configure', [
    [
      'use of a limit of nothing is a whole one',
      'if total > 0 and window.m == 0 then',
      'if false then',
      ['reconfigured', 'guards-steps'],
    ],
    [
      'use is counted in the new amount',
      'elseif total > 0 and window.m ~= amount then',
      'elseif false then',
      'reconfigured',
    ],
    [
      'what is seeded is not added to what runs',
      'period.u = math.max(period.u, used - period.r)',
      'period.u = period.u + used',
      ['reconfigured', 'guards-steps'],
    ],
    [
      'what the first release wrote goes',
      "if call.outdated then redis.call('DEL', unpack(KEYS, 1, #KEYS - 1)) end",
      '',
      ['deciders', 'guards-steps'],
    ],
  ]),
  ...mutants('W4', 'charges', [
    [
      'a call that ends after its window went changes nothing',
      '  if not window then return false end\n',
      '  if not window then window = window_for(call, record, { charge.n, 1, 1, "F", charge.n, 60000 }) end\n',
      ['reconfigured', 'guards-steps'],
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
      ['nodes', 'guards-steps'],
    ],
  ]),
  ...mutants('N3', 'guarantees', [
    [
      'a claim is one of its period',
      'window.gp == guarantor.s and window.gc or reserved_before',
      'window.gc',
      ['guards-windows', 'guards-steps'],
    ],
    [
      'no more is claimed than was promised',
      'return math.min(promised, amount)',
      'return amount',
      ['nodes', 'guards-windows', 'guards-steps'],
    ],
  ]),
  ...mutants('N5', 'nodes', [
    [
      'a 1308 without a time closes for a minute',
      'ending.frozen >= 0 and ending.frozen or call.meta.wall_ms + 60000',
      'ending.frozen',
      ['nodes', 'guards-steps'],
    ],
  ]),
  ...mutants('N5', 'calibrate', [
    ['a reading opens a window that is not open here', '    open_at(call, window, start, used)\n', '', 'calibrate'],
    [
      'the window held to be possible is the one that began',
      'if window.n and start >= window.n.lo - SAME_RESET_MS then',
      'if false then',
      ['calibrate', 'guards-steps'],
    ],
    [
      'an earlier reset fixes no start',
      'if resets >= current.lo + window.d - SAME_RESET_MS then fix_start',
      'if true then fix_start',
      ['calibrate', 'guards-steps'],
    ],
    [
      'what runs stays reserved in the new window',
      'if before then period.r, period.v, period.gc = before.r, before.v, window.gr end',
      '',
      'calibrate',
    ],
    ['a freeze that is over is not ended', ' or a.fz <= call.meta.wall_ms or', ' or', ['calibrate', 'guards-steps']],
  ]),
  ...mutants('Q6', 'queue', [
    [
      'the earliest time counts',
      'if before and tonumber(before) <= at_ms then return end',
      '',
      ['queue', 'guards-wakes', 'guards-steps'],
    ],
    [
      'a stopped account is not asked again at once',
      "call.root_stopped and '(' .. int(call.meta.now_ms) or '-inf'",
      "'-inf'",
      ['queue', 'guards-steps'],
    ],
  ]),
  ...mutants('F6', 'dispatch', [
    [
      'a full node is looked at once',
      'if wake.x == failing.x and ENDS_WAKE[failing.reason] then table.remove(call.wakes, index) end',
      '',
      ['queue', 'guards-steps'],
    ],
  ]),
  ...mutants('Q1', 'dispatch', [
    ['the turn of a flow goes on', 'flow.round = math.max(flow.round, waiter.round)', '', ['queue', 'guards-steps']],
  ]),
  ...mutants('Q1', 'acquire', [
    [
      'only the first of a sub-queue is parked',
      'if head ~= id then return waiter end',
      '',
      ['queue', 'queue-order', 'guards-steps'],
    ],
    ['a leaf without a limit has no queue of its own', 'leaf and leaf[NODE_QUEUE] >= 0 and', 'leaf and', 'queue'],
  ]),
];
