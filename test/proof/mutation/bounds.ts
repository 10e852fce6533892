/** Mutants of the engine's numbers: `constants.ts`, and what Lua files keep to themselves. F6: every loop has a budget. */
import { mutants, mutantsOf, suite, type Mutant } from './mutant.ts';

const CONSTANTS = 'sidecar/engine/constants.ts';

/** Of a number that the engine and its model share: another value. */
function constant(rule: string, name: string, value: string, other: string, red: string | readonly string[]): Mutant {
  const [mutant] = mutantsOf(CONSTANTS, rule, [
    [`the number ${name}`, `\n  ${name}: ${value},`, `\n  ${name}: ${other},`, [red].flat().map(suite)],
  ]);
  return mutant as Mutant;
}

const numbers: readonly Mutant[] = [
  constant('T1', 'STEP_MS', '5_000', '50_000', 'guards-owners'),
  constant('T2', 'TTL_MS', '15_000', '16_000', 'guards-bounds'),
  constant('T2', 'CLAIM_TTL_MS', '13_000', '14_000', 'guards-time'),
  constant('T3', 'SILENT_MS', '7_500', '9_000', 'leases'),
  constant('T4', 'LATE_MS', '600_000', '700_000', 'leases'),
  constant('T5', 'PLACE_MS', '30_000', '60_000', 'guards-time'),
  constant('T7', 'BEAT_MS', '5000', '6000', 'guards-bounds'),
  constant('N1', 'GUARD_MS', '2_000', '0', 'windows'),
  constant('N1', 'RING_BUCKETS', '60', '6', 'windows'),
  constant('Q2', 'TAG_SCALE', '5_040_000', '0', 'queue-order'),
  constant('Q2', 'MAX_WEIGHT', '100_000', '100_000_000', 'guards-bounds'),
  constant('Q5', 'GUARD_BYPASS', '8', '80', 'queue'),
  constant('bounds', 'WAITER_TTL_MS', '16_500', '30_000', 'queue-order'),
  constant('bounds', 'NOTICE_MS', '30_000', '60_000', 'guards-bounds'),
  constant('L1', 'LEDGER_BYTES', '64 * 1024 * 1024', 'Number.MAX_SAFE_INTEGER', 'guards-bounds'),
  constant('L1', 'CHECKPOINT_MS', '3_600_000', '360_000_000', 'guards-ledger'),
  constant('L2', 'MAX_AMOUNT', 'Number.MAX_SAFE_INTEGER', '2 ** 60', 'guards.test'),
  constant('F6', 'REAP_BUDGET', '16', '1000', 'guards-time'),
  constant('F6', 'PRUNE_BUDGET', '32', '1000', 'guards-bounds'),
  constant('F6', 'DISPATCH_BUDGET', '32', '1000', 'guards-bounds'),
  constant('F6', 'WAITER_REAP_BUDGET', '16', '1000', 'guards-bounds'),
  constant('F6', 'KEPT_REAP_BUDGET', '256', '10_000', ['queue-bounds', 'guards-bounds']),
];

const budgets: readonly Mutant[] = [
  ...mutants('F6', 'leases', [
    [
      'one call expires so many leases',
      "int(until_ms), 'LIMIT', 0, REAP_BUDGET)",
      "int(until_ms), 'LIMIT', 0, 1000)",
      'guards-time',
    ],
    [
      'one call ends so many holds',
      "int(call.meta.now_ms), 'LIMIT', 0, REAP_BUDGET)",
      "int(call.meta.now_ms), 'LIMIT', 0, 1000)",
      'guards-bounds',
    ],
    [
      'one call forgets so many finished ids',
      "call.keys.done, '-inf', now, 'LIMIT', 0, PRUNE_BUDGET)",
      "call.keys.done, '-inf', now, 'LIMIT', 0, 1000)",
      'guards-bounds',
    ],
    [
      'one call forgets so many expired leases',
      "call.keys.late, '-inf', now, 'LIMIT', 0, PRUNE_BUDGET)",
      "call.keys.late, '-inf', now, 'LIMIT', 0, 1000)",
      'guards-bounds',
    ],
  ]),
  ...mutants('F6', 'dispatch', [
    [
      'one call looks at so many waiters',
      'while going and steps < DISPATCH_BUDGET do',
      'while going do',
      'guards-bounds',
    ],
    ['what is left for later is due at once', '  call.more = call.more or left\n', '', 'guards-bounds'],
    [
      'one call lets so many waiters go',
      'waiters, kept = WAITER_REAP_BUDGET, KEPT_REAP_BUDGET',
      'waiters, kept = 1000, KEPT_REAP_BUDGET',
      'guards-bounds',
    ],
    [
      'one call forgets so much of what was kept',
      'if not is_waiter(id) and kept > 0 then',
      'if not is_waiter(id) then',
      ['queue-bounds', 'guards-bounds'],
    ],
    ['who is left to be let go is next at once', '          call.more = true\n', '', ['queue-bounds', 'guards-bounds']],
    ['so is what was kept', '    call.more = kept == 0\n', '', ['queue-bounds', 'guards-bounds']],
    [
      'one call fires so many timers',
      "call.keys.timers, '-inf', int(call.meta.now_ms), 'LIMIT', 0, DISPATCH_BUDGET)",
      "call.keys.timers, '-inf', int(call.meta.now_ms))",
      'guards-bounds',
    ],
    ['a grant tells at most eight warnings', ' and #warnings < 24 then', ' then', 'guards-bounds'],
  ]),
  ...mutants('F6', 'govern', [
    ['one call reclaims so many leases', 'if ended < RECLAIM_BUDGET and read_lease', 'if read_lease', 'guards-bounds'],
    [
      'one call reclaims so many waiters',
      'for index = 1, math.min(#found, RECLAIM_BUDGET) do queue.leave(call, found[index][1], found[index][2]) end\n  return math.min(#found, RECLAIM_BUDGET)',
      'for index = 1, #found do queue.leave(call, found[index][1], found[index][2]) end\n  return #found',
      'guards-bounds',
    ],
  ]),
];

export const BOUNDS: readonly Mutant[] = [...numbers, ...budgets];
