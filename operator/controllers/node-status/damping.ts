/** When a changed status is worth a write: what people decided at once, what traffic did seldom, nothing never. */
import { isDeepStrictEqual } from 'node:util';
import type { NodeStatus } from '../../api/v1alpha1/status.ts';
import { DEFAULT_THRESHOLDS } from '../../api/v1alpha1/waiting.ts';
import type { WriteDecision } from '../status/writer.ts';

const DAMPED_MS = 10_000;
/** Small differences are written in the end, so that a status does not lie for ever when traffic stops. */
const SETTLED_MS = 60_000;
const STEP_PERCENT = 5;
const USED_UP = 100;

/**
 * `written`: what stands in the object; `sinceMs`: how long ago this process wrote it, Infinity if it did not;
 * `thresholds`: percentages whose crossing is worth a write, however small the step.
 */
export function decideNodeWrite(
  written: unknown,
  wanted: NodeStatus,
  sinceMs: number,
  thresholds: readonly number[] = DEFAULT_THRESHOLDS,
): WriteDecision {
  const before = (typeof written === 'object' && written !== null ? written : {}) as Partial<NodeStatus>;
  // Every change of a tree changes its revision: writing that to all its quotas would cost a write each.
  if (isDeepStrictEqual(withoutRevision(before), withoutRevision(wanted))) return { kind: 'none' };
  if (!isDeepStrictEqual(settledPart(before), settledPart(wanted))) return { kind: 'now' };
  const restMs = isSignificant(before, wanted, thresholds) ? DAMPED_MS : SETTLED_MS;
  return sinceMs >= restMs ? { kind: 'now' } : { kind: 'later', afterMs: restMs - sinceMs };
}

/** Absent, not undefined: a status that was never in any tree has no such key. */
function withoutRevision({ revision: _revision, ...rest }: Partial<NodeStatus>): unknown {
  return rest;
}

/** What changes because somebody changed something. */
function settledPart(status: Partial<NodeStatus>): unknown {
  const { observedGeneration, effective, reset, plannedMove } = status;
  // Messages may quote what changes by itself, such as the words of a failed connection.
  const conditions = (status.conditions ?? []).map((each) => [each.type, each.status, each.reason]);
  const isStopped = status.blockedBy?.endsWith('/stop') ?? false;
  return { observedGeneration, conditions, effective, reset, plannedMove, isStopped };
}

function isSignificant(before: Partial<NodeStatus>, wanted: NodeStatus, thresholds: readonly number[]): boolean {
  // A schedule, a freeze or a window begins or ends; a breaker turns; somebody waits, or nobody any more.
  if (before.until !== wanted.until || !isDeepStrictEqual(turnsOf(before), turnsOf(wanted))) return true;
  const percentBefore = percents(before);
  const percentWanted = percents(wanted);
  const limits = new Set([...percentBefore.keys(), ...percentWanted.keys()]);
  return Array.from(limits).some((limit) => {
    const from = percentBefore.get(limit) ?? 0;
    const to = percentWanted.get(limit) ?? 0;
    const crossed = [...thresholds, USED_UP].some((threshold) => from >= threshold !== to >= threshold);
    return crossed || Math.abs(to - from) >= STEP_PERCENT;
  });
}

function turnsOf({ conditions, concurrency }: Partial<NodeStatus>): unknown {
  const breakers = (concurrency?.models ?? []).flatMap(({ name, breaker }) => (breaker ? [[name, breaker]] : []));
  return { conditions, breakers, isWaiting: (concurrency?.queued ?? 0) > 0 };
}

function percents(status: Partial<NodeStatus>): ReadonlyMap<string, number> {
  return new Map((status.usage ?? []).map(({ limit, percent }) => [limit, percent]));
}
