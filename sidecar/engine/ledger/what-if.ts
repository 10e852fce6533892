/** What would have become of the calls of a ledger under other limits (rule L1). Pure. */
import type { History } from './history.ts';
import { simulate, type Change, type Fate, type Place } from './simulation.ts';

export interface WhatIf {
  readonly before: Totals;
  readonly after: Totals;
  /** Limits that denied somebody or let somebody wait, in either case, by name. */
  readonly limits: readonly LimitChange[];
  /** Calls that would have been told something else, in the order they asked. */
  readonly changed: readonly ChangedCall[];
  /** Denials that have no entry of their own: nobody can ask for them again. */
  readonly unknown: number;
}

interface Totals {
  readonly grantedAtOnce: number;
  readonly grantedLater: number;
  readonly denied: number;
  /** Left, or not told before the ledger ends. */
  readonly open: number;
  /** Of all that waited, whatever they were told. */
  readonly waitedMs: number;
}

export interface LimitChange extends Place {
  readonly denied: BeforeAfter;
  readonly waited: BeforeAfter;
}

interface BeforeAfter {
  readonly before: number;
  readonly after: number;
}

export interface ChangedCall {
  readonly id: string;
  readonly leaf: string;
  readonly before: Fate;
  readonly after: Fate;
}

/** Both are simulated, the tree as it was as well: what differs then comes from the change alone. */
export function whatIf(history: History, change: Change): WhatIf {
  const before = simulate(history, (tree) => tree);
  const after = simulate(history, change);
  const changed = [...history.calls.values()].flatMap(({ request: { id, leaf } }): ChangedCall[] => {
    const fates = { before: before.get(id) ?? OPEN, after: after.get(id) ?? OPEN };
    return differs(fates.before, fates.after) ? [{ id, leaf, ...fates }] : [];
  });
  const totals = { before: totalsOf(before.values()), after: totalsOf(after.values()) };
  return { ...totals, limits: limitsOf(before.values(), after.values()), changed, unknown: history.counts.denied };
}

const OPEN: Fate = { kind: 'open' };

/** A call that waits longer or shorter was told the same. */
function differs(before: Fate, after: Fate): boolean {
  if (before.kind !== after.kind) return true;
  if (before.kind === 'granted' && after.kind === 'granted')
    return (before.waitedAt === null) !== (after.waitedAt === null);
  return before.kind === 'denied' && after.kind === 'denied' && !isSame(before, after);
}

const isSame = (a: Place, b: Place): boolean => a.node === b.node && a.limit === b.limit;

function totalsOf(fates: Iterable<Fate>): Totals {
  const all = [...fates];
  const granted = all.filter((fate) => fate.kind === 'granted');
  const denied = all.filter((fate) => fate.kind === 'denied');
  return {
    grantedAtOnce: granted.filter(({ waitedAt }) => waitedAt === null).length,
    grantedLater: granted.filter(({ waitedAt }) => waitedAt !== null).length,
    denied: denied.length,
    open: all.length - granted.length - denied.length,
    waitedMs: [...granted, ...denied].reduce((sum, { waitedMs }) => sum + waitedMs, 0),
  };
}

interface Counted extends Place {
  readonly denied: { before: number; after: number };
  readonly waited: { before: number; after: number };
}

function limitsOf(before: Iterable<Fate>, after: Iterable<Fate>): readonly LimitChange[] {
  const limits = new Map<string, Counted>();
  const at = ({ node, limit }: Place): Counted => {
    const name = `${node}/${limit}`;
    const found = limits.get(name) ?? { node, limit, denied: { before: 0, after: 0 }, waited: { before: 0, after: 0 } };
    limits.set(name, found);
    return found;
  };
  for (const [when, fates] of [
    ['before', before],
    ['after', after],
  ] as const) {
    for (const fate of fates) {
      if (fate.kind === 'denied') at(fate).denied[when] += 1;
      if (fate.kind === 'granted' && fate.waitedAt !== null) at(fate.waitedAt).waited[when] += 1;
    }
  }
  return [...limits].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, counted]) => counted);
}
