/** What would refuse the next call of a node. */
import type { NodeSnapshot } from '../../../sidecar/engine/terms.ts';
import type { NodeConfig, StopConfig } from '../../../sidecar/engine/tree-terms.ts';
import { percentOf } from './usage.ts';

export interface Blockage {
  /** `<node>/<limit>`, as refusals name it. */
  readonly by: string;
  readonly untilMs: number | null;
}

/** A node as it is counted, and as it is configured (null: not known). */
export interface CountedNode {
  readonly snapshot: NodeSnapshot;
  readonly config: Pick<NodeConfig, 'stops' | 'observe'> | null;
}

interface Ranked extends Blockage {
  /** Of several blockages the one of the highest rank is named. */
  readonly rank: number;
}

/** Stops until a person acts outlast everything, then what ends latest; slots free soon; a breaker closes one model only. */
const RANKS = { untilResumed: Number.MAX_VALUE, unknownReset: 1, slot: 0, breaker: -1 } as const;

/**
 * A stop, the vendor's word, a limit used up, no free slot or an open breaker of a model. Of several the one that lasts
 * longest is named, as the call needs them all to pass. `path`: leaf first; `models`: the account's model nodes.
 */
export function findBlockage(
  path: readonly CountedNode[],
  models: readonly NodeSnapshot[],
  nowMs: number,
): Blockage | null {
  const found = [...path.flatMap((node) => blockagesOf(node, nowMs)), ...models.flatMap(breakerOf)];
  const [first, ...others] = found;
  if (first === undefined) return null;
  const { by, untilMs } = others.reduce((worst, each) => (each.rank > worst.rank ? each : worst), first);
  return { by, untilMs };
}

function blockagesOf({ snapshot, config }: CountedNode, nowMs: number): Ranked[] {
  const { name, frozenUntilMs } = snapshot;
  const stop = stopOf(snapshot, config?.stops ?? [], nowMs);
  return [
    ...(stop === null ? [] : [blockage(name, stop.name, stop.untilMs, RANKS.untilResumed)]),
    ...(frozenUntilMs === null || frozenUntilMs <= nowMs ? [] : [blockage(name, 'vendor', frozenUntilMs, 0)]),
    ...(config?.observe ? [] : ownLimits(snapshot)),
  ];
}

/** Of those that hold now the one that ends last. */
function stopOf(
  { stopped }: NodeSnapshot,
  stops: readonly StopConfig[],
  nowMs: number,
): Pick<StopConfig, 'name' | 'untilMs'> | null {
  const endOf = ({ untilMs }: StopConfig): number => untilMs ?? Number.POSITIVE_INFINITY;
  const running = stops.filter((stop) => stop.fromMs <= nowMs && nowMs < endOf(stop));
  const last = running.toSorted((a, b) => endOf(b) - endOf(a))[0];
  // Redis' clock may be a little ahead of ours.
  return last ?? (stopped ? { name: 'stop', untilMs: null } : null);
}

function ownLimits({ name, usage, concurrency, inFlight }: NodeSnapshot): Ranked[] {
  const usedUp = usage.filter((each) => percentOf(each) >= 100);
  const isFull = concurrency !== null && inFlight >= concurrency;
  return [
    ...usedUp.map(({ limit, resetsAtMs }) => blockage(name, limit, resetsAtMs, RANKS.unknownReset)),
    ...(isFull ? [blockage(name, 'concurrency', null, RANKS.slot)] : []),
  ];
}

function breakerOf({ name, breaker }: NodeSnapshot): Ranked[] {
  return breaker === 'Open' ? [blockage(name, 'breaker', null, RANKS.breaker)] : [];
}

/** `rank`: where the end is not known. */
function blockage(node: string, limit: string, untilMs: number | null, rank: number): Ranked {
  return { by: `${node}/${limit}`, untilMs, rank: untilMs ?? rank };
}
