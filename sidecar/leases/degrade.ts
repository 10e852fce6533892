/**
 * Whether a call may start while Redis is away (rule F4). Pure.
 *
 * LocalShare, with limit L, share φ and N owners: every owner draws its part of each limit once an outage, φL/N rounded up
 * or down at random so that the parts have the sum φL on average. Where Redis is away for all, that is the bound of what
 * starts (the calls that ran before end on their own). Where k of N owners are cut off and Redis serves the others, up to
 * L + φLk/N calls run, since the leases of those cut off expire there; windows are overdrawn by at most φk/N of what was
 * left. Rates and scope nodes are not known here: what they would have refused is counted on them afterwards.
 */
import type { StoreFailurePolicy } from '../control/terms.ts';
import type { NodeSnapshot, UsageSnapshot } from '../engine/terms.ts';
import type { Amounts, NodeName } from '../engine/tree-terms.ts';
import { QUANTITY } from './tally.ts';

/** Shorter than this is a connection that breaks and comes back: waiting is better than guessing. */
export const GRACE_MS = 2000;

export interface LocalView {
  /** The nodes a call is counted on, as they were at the last look; null: nobody has looked. */
  readonly nodes: readonly NodeSnapshot[] | null;
  readonly owners: number;
  /** In [0, 1), drawn once an outage: who is lucky at one node is at all, so that rare shares are of use. */
  readonly luck: number;
  /** Calls of this process that run on a node. */
  readonly running: (node: NodeName) => number;
  /** By calls of this process that began after the look. */
  readonly spent: Amounts;
  /** Wall time. */
  readonly nowMs: number;
}

/** `wait`: not now, but it may yet. `closed`: nothing starts until Redis is back. */
export type LocalDecision = 'start' | 'wait' | 'closed';

/** `downForMs`: how long Redis has been away. */
export function decideLocal(
  policy: StoreFailurePolicy,
  downForMs: number,
  reserve: Amounts,
  view: LocalView,
): LocalDecision {
  if (policy.policy === 'Closed' || downForMs >= policy.maxDurationMs) return 'closed';
  if (downForMs < GRACE_MS) return 'wait';
  if (policy.policy === 'Open') return 'start';
  if (view.nodes === null) return 'closed';
  const share = { percent: policy.localSharePercent, owners: view.owners, luck: view.luck };
  return view.nodes.every(
    (node) => isOpen(node, view.nowMs) && hasSlot(node, share, view) && fits(node, share, { reserve, view }),
  )
    ? 'start'
    : 'wait';
}

interface Share {
  readonly percent: number;
  readonly owners: number;
  readonly luck: number;
}

/** This owner's part of an amount; a part below one is one for some and none for others. */
export function partOf(amount: number, { percent, owners, luck }: Share): number {
  return Math.floor((Math.max(0, amount) / Math.max(1, owners)) * (percent / 100) + luck);
}

function isOpen({ stopped, frozenUntilMs, breaker }: NodeSnapshot, nowMs: number): boolean {
  return !stopped && breaker !== 'Open' && (frozenUntilMs === null || frozenUntilMs <= nowMs);
}

function hasSlot({ name, concurrency }: NodeSnapshot, share: Share, view: LocalView): boolean {
  return concurrency === null || view.running(name) < partOf(concurrency, share);
}

function fits(
  { usage }: NodeSnapshot,
  share: Share,
  { reserve, view }: { reserve: Amounts; view: LocalView },
): boolean {
  return usage.every((each) => {
    const quantity = QUANTITY[each.resource];
    return quantity(view.spent) + quantity(reserve) <= partOf(leftOf(each, view.nowMs), share);
  });
}

/** A window that has ended meanwhile is empty. */
function leftOf({ amount, used, reserved, resetsAtMs }: UsageSnapshot, nowMs: number): number {
  return resetsAtMs !== null && resetsAtMs <= nowMs ? amount : amount - used - reserved;
}
