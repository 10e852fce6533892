/** Mutants of Q6: each drops one call that wakes who is parked. `main.ts` sees that no such call is without one. */
import { mutants, type Mutant } from './mutant.ts';

export const WAKES: readonly Mutant[] = [
  ...mutants('Q6', 'configure', [['wake: configure', '  queue.wake_all(call)\n', '', 'queue', 'fast']]),
  ...mutants('Q6', 'dispatch', [['wake: a timer', 'queue.wake(call, x, true)', '', 'queue']]),
  ...mutants('Q6', 'govern', [
    ['wake: the end of a freeze', '  queue.wake(call, name)\n', '', 'guards-wakes'],
    ['wake: a reset of a window', "queue.wake(call, ARGV[2] .. '|' .. ARGV[3])", '', 'guards-wakes'],
    ['wake: a calibration', '      queue.wake_all(call)\n', '', 'guards-wakes'],
  ]),
  ...mutants('Q6', 'guard', [['wake: the end of a starvation guard', 'queue.wake(call, guard.x)', '', 'guards-wakes']]),
  ...mutants('Q6', 'leases', [
    ['wake: slots come free', '  lease.v = 0\n  queue.wake_path(call, lease.n)\n', '  lease.v = 0\n', 'queue'],
    ['wake: a late settlement', 'if lease.v == 0 then queue.wake_path(call, lease.n) end', '', 'guards-wakes'],
    [
      'wake: windows of a call whose slots are held',
      '  lease.h = 1\n  queue.wake_path(call, lease.n)\n',
      '  lease.h = 1\n',
      'guards-wakes',
    ],
  ]),
  ...mutants('Q6', 'queue', [
    [
      'wake: others park, System may go',
      "if flow.class ~= 1 then queue.wake(call, 'account|system') end",
      '',
      'guards-wakes',
    ],
    [
      'wake: others leave, System may go',
      "if waiter.class ~= 1 then queue.wake(call, 'account|system') end",
      '',
      'guards-wakes',
    ],
    ['wake: the nodes of a path', '    queue.wake(call, name)\n', '', 'queue'],
    [
      "wake: System's share of the account",
      "if name == 'account' then queue.wake(call, 'account|system') end",
      '',
      'guards-wakes',
    ],
    [
      'wake: the windows of a path',
      "for _, charge in ipairs(entry[3]) do queue.wake(call, name .. '|' .. string.match(charge.n, '^[^|]*')) end",
      '',
      'guards-wakes',
    ],
    ['wake: everything', 'for _, x in ipairs(xs) do queue.wake(call, x) end', '', 'queue'],
  ]),
  ...mutants('Q6', 'dispatch', [
    [
      'a parked call comes back by time',
      'queue.set_timer(call, failing.x, failing.timer or retry)',
      '',
      'guards-wakes',
    ],
    [
      'a stopped account is looked at again',
      "queue.set_timer(call, 'account', root_timer(call, found))",
      '',
      'guards-wakes',
    ],
  ]),
  ...mutants('Q6', 'acquire', [
    [
      'a call that parks at once comes back by time',
      'queue.set_timer(call, failing.x, failing.timer or retry)',
      '',
      'queue',
    ],
  ]),
];
