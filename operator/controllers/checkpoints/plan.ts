/**
 * What is kept of a tree's counters outside Redis (rule F3), when it is worth a write, and what of it still holds when
 * Redis has lost its memory. Pure.
 */
import { isDeepStrictEqual } from 'node:util';
import { describeWindow } from '../../trees/windows.ts';
import type { Checkpoint } from '../../../sidecar/engine/port.ts';
import type { Anchor, TreeSnapshot } from '../../../sidecar/engine/terms.ts';
import type { LimitConfig, NodeName, TreeConfig, Window } from '../../../sidecar/engine/tree-terms.ts';

export interface StoredUsage {
  readonly node: NodeName;
  readonly limit: string;
  /** Resource and window: a limit of another identity is another limit (rule W4). */
  readonly identity: string;
  /** Settled and reserved: what was in flight is used by now, as far as anybody knows. */
  readonly used: number;
  /** Wall time; null: not open, or without a reset (Sliding). */
  readonly resetsAtMs: number | null;
  /** Of an anchored window; older checkpoints lack it. */
  readonly anchor?: Anchor;
}

export interface StoredCheckpoint {
  readonly savedAtMs: number;
  readonly epoch: number;
  readonly usage: readonly StoredUsage[];
  /** Absent in those of earlier releases. */
  readonly learnt?: Checkpoint['learnt'];
}

/** Growth of a limit's use by this part of its amount is written at once: it bounds what a total loss forgets. */
const STEP_PERCENT = 1;
const REST_MS = 30_000;
/** A rate that is used up to the same moment, as far as two clocks that are read in whole milliseconds can tell. */
const SAME_MOMENT_MS = 5;

/** What is used in the tree now; limits nothing was used of are left out. */
export function takeCheckpoint(tree: TreeConfig, snapshot: TreeSnapshot, nowMs: number): StoredCheckpoint {
  const limits = limitsOf(tree);
  const usage = snapshot.nodes.flatMap(({ name: node, usage: all }) =>
    all.flatMap(({ limit, used, reserved, resetsAtMs, anchor }): StoredUsage[] => {
      const config = limits.get(`${node}|${limit}`);
      if (config === undefined || used + reserved === 0) return [];
      const seen = { node, limit, identity: identityOf(config), used: used + reserved, resetsAtMs };
      return [anchor === undefined ? seen : { ...seen, anchor }];
    }),
  );
  return { savedAtMs: nowMs, epoch: snapshot.epoch, usage, learnt: learntOf(tree, snapshot) };
}

/** Nodes that stand as a new tree would have them are left out. */
function learntOf({ nodes }: TreeConfig, { nodes: counted, serverNowMs }: TreeSnapshot): Checkpoint['learnt'] {
  const states = new Map(counted.map((each) => [each.name, each]));
  return nodes.flatMap(({ name: node, adaptive, rate }) => {
    const state = states.get(node);
    const concurrency = adaptive && state?.concurrency !== adaptive.start ? (state?.concurrency ?? null) : null;
    const waitMs = rate ? Math.ceil((state?.rateWaitUs ?? 0) / 1000) : 0;
    const rateUntilMs = waitMs > 0 ? serverNowMs + waitMs : null;
    return concurrency === null && rateUntilMs === null ? [] : [{ node, rateUntilMs, concurrency }];
  });
}

/** Whether `next` is to be written; `last`: what is stored, null when nothing is. */
export function isDue(last: StoredCheckpoint | null, next: StoredCheckpoint, tree: TreeConfig): boolean {
  if (last === null) return next.usage.length + (next.learnt ?? []).length > 0;
  const differing = differences(last, next);
  if (differing.length === 0 && !hasLearnt(last, next)) return false;
  if (next.savedAtMs - last.savedAtMs >= REST_MS || next.savedAtMs < last.savedAtMs) return true;
  const limits = limitsOf(tree);
  return differing.some(({ before, after }) => isStep(before, after, limits.get(`${after.node}|${after.limit}`)));
}

interface Difference {
  readonly before: StoredUsage | undefined;
  readonly after: StoredUsage;
}

function differences(last: StoredCheckpoint, next: StoredCheckpoint): readonly Difference[] {
  const known = new Map(last.usage.map((usage) => [`${usage.node}|${usage.limit}`, usage]));
  const grown = next.usage.flatMap((after): Difference[] => {
    const before = known.get(`${after.node}|${after.limit}`);
    known.delete(`${after.node}|${after.limit}`);
    return isDeepStrictEqual(before, after) ? [] : [{ before, after }];
  });
  // Windows that ended since: what is stored of them is filtered by their reset when it is read.
  const ended = [...known.values()].map((before): Difference => ({ before, after: { ...before, used: 0 } }));
  return [...grown, ...ended];
}

/** That a rate's wait has passed is told by the clock. */
function hasLearnt({ learnt: last = [] }: StoredCheckpoint, { learnt: next = [] }: StoredCheckpoint): boolean {
  const concurrencies = (all: Checkpoint['learnt']): unknown =>
    all.flatMap(({ node, concurrency }) => (concurrency === null ? [] : [[node, concurrency]]));
  if (!isDeepStrictEqual(concurrencies(last), concurrencies(next))) return true;
  const before = new Map(last.map(({ node, rateUntilMs }) => [node, rateUntilMs ?? 0]));
  return next.some(({ node, rateUntilMs }) => (rateUntilMs ?? 0) > (before.get(node) ?? 0) + SAME_MOMENT_MS);
}

/** Only growth is urgent: who forgets that something became free again is merely careful. */
function isStep(before: StoredUsage | undefined, after: StoredUsage, limit: LimitConfig | undefined): boolean {
  const isAnotherWindow = before?.resetsAtMs !== after.resetsAtMs;
  const grown = after.used - (isAnotherWindow ? 0 : (before?.used ?? 0));
  return grown > 0 && BigInt(grown) * 100n >= BigInt(limit?.amount ?? 0) * BigInt(STEP_PERCENT);
}

/** What still counts at `nowMs` of what was stored, for limits that are the same as then. */
export function restorable(stored: StoredCheckpoint, tree: TreeConfig, nowMs: number): Checkpoint {
  const { usage, savedAtMs, learnt = [] } = stored;
  const limits = limitsOf(tree);
  const nodes = new Set(tree.nodes.map(({ name }) => name));
  return {
    learnt: learnt.flatMap((each) => {
      const rateUntilMs = each.rateUntilMs !== null && each.rateUntilMs > nowMs ? each.rateUntilMs : null;
      const isEmpty = rateUntilMs === null && each.concurrency === null;
      return isEmpty || !nodes.has(each.node) ? [] : [{ ...each, rateUntilMs }];
    }),
    usage: usage.flatMap(({ node, limit, identity, used, resetsAtMs, anchor }) => {
      const config = limits.get(`${node}|${limit}`);
      if (config === undefined || identityOf(config) !== identity) return [];
      // One that had not surely opened yet may have done so at any time until it was looked at.
      const endsAtMs = anchor?.hiMs === null ? null : resetsAtMs;
      if ((endsAtMs ?? savedAtMs + spanOf(config.window)) <= nowMs) return [];
      if (anchor !== undefined) return [{ node, limit, used, anchorMs: anchor.hiMs, anchorLoMs: anchor.loMs }];
      return [{ node, limit, used, anchorMs: resetsAtMs === null ? null : anchorOf(config.window, resetsAtMs) }];
    }),
  };
}

function limitsOf({ nodes }: TreeConfig): ReadonlyMap<string, LimitConfig> {
  return new Map(nodes.flatMap(({ name, limits }) => limits.map((limit) => [`${name}|${limit.name}`, limit] as const)));
}

function identityOf({ resource, window }: LimitConfig): string {
  return `${resource} ${describeWindow(window)}`;
}

function anchorOf(window: Window, resetsAtMs: number): number | null {
  if (window.type !== 'Calendar') return resetsAtMs - window.durationMs;
  return window.boundariesMs.findLast((ms) => ms < resetsAtMs) ?? null;
}

function spanOf(window: Window): number {
  // A calendar period always has a reset.
  return window.type === 'Calendar' ? 0 : window.durationMs;
}
