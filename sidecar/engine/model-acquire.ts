/** Reference model: what becomes of a call that asks. Pure. */
import { ENGINE_CONSTANTS } from './constants.ts';
import { denialOf, failing, refuseOrWait, type Consequence, type Failing } from './model-check.ts';
import { parkAt, waitsItsTurn } from './model-dispatch.ts';
import { grantNow, grantOf } from './model-grant.ts';
import { classOf } from './model-path.ts';
import { lineOf, placeKey, type Waiter } from './model-queue.ts';
import type { ModelTree } from './model-tree.ts';
import type { AcquireRequest, Denied, NodeName, Verdict } from './terms.ts';

const MAX_WAIT_MS = 86_400_000;

/** A place at the head of the flow, for a call that was granted and refused by the vendor (rule Q7). */
export interface Retry {
  readonly seq: number | null;
}

export const isWaiter = (answer: Verdict | Waiter): answer is Waiter => !('kind' in answer);

/** The answer for an id that was seen before; null: it is new. A waiter is asked for again. */
export function known(tree: ModelTree, request: AcquireRequest): Verdict | Waiter | null {
  const { room, leases, now } = tree;
  const { id, owner } = request;
  const lease = leases.find(id);
  if (lease) return lease.live && lease.request.owner === owner ? grantOf(tree, lease, []) : { kind: 'done' };
  const waiter = room.find(id);
  if (waiter) {
    if (waiter.request.owner !== owner) return { kind: 'done' };
    waiter.heardMs = now.logicalMs;
    waiter.deadlineMs = Math.max(waiter.deadlineMs, deadlineOf(tree, request));
    return waiter;
  }
  return room.notice(id, owner, now.logicalMs) ?? (leases.isDone(id) ? { kind: 'done' } : null);
}

/** Null: the caller's tree is the one in force. */
export function stale(tree: ModelTree, request: AcquireRequest): Verdict | null {
  const { config } = tree;
  if (!config) return { kind: 'stale', generation: 0 };
  const { revision, pathGeneration } = config;
  const current = request.generation >= pathGeneration && request.generation <= revision.generation;
  return current && tree.path(request) ? null : { kind: 'stale', generation: revision.generation };
}

/** Its process is marked: what stands before the last `/` of an owner. */
export function drained(tree: ModelTree, { owner }: AcquireRequest): Denied | null {
  const process = owner.slice(0, Math.max(0, owner.lastIndexOf('/')));
  return tree.draining.has(process) ? denialOf(failing('Draining', 'account', 'drain'), tree) : null;
}

/** Grants, refuses or queues a call that was never seen. */
export function decide(tree: ModelTree, request: AcquireRequest, retry: Retry | null): Verdict | Waiter {
  const path = tree.path(request) ?? [];
  const priority = classOf(request, tree.configs);
  const arrival = { request, class: priority, ...lineOf(request, priority) };
  const failings = tree.check(path, { ...arrival, headOf: null });
  if (failings.length === 0 && mayGoFirst(tree, arrival.sub)) return grantNow(tree, arrival, path);
  const { mode } = request.wait;
  const deadlineMs = deadlineOf(tree, request);
  const next = failings.length > 0 ? refuseOrWait(failings, mode, deadlineMs, tree) : waitOrReject(tree, mode);
  if (next?.kind === 'deny') return denialOf(next.failing, tree);
  const full = queueFull(tree, request.leaf);
  if (full) return denialOf(full, tree);
  return enqueue(tree, { ...arrival, deadlineMs, heardMs: tree.now.logicalMs }, { retry, next });
}

const deadlineOf = ({ now }: ModelTree, { wait }: AcquireRequest): number =>
  now.logicalMs + Math.max(0, Math.min(wait.maxWaitMs, MAX_WAIT_MS));

/** Nobody waits, or nobody who waits could go instead. */
function mayGoFirst({ room, now }: ModelTree, sub: string): boolean {
  if (room.waiters.length === 0) return true;
  const isDue = [...room.timers.values()].some((atMs) => atMs <= now.logicalMs);
  return room.runnable.length === 0 && room.wakes.length === 0 && !isDue && !room.subs.has(sub);
}

function waitOrReject(tree: ModelTree, mode: AcquireRequest['wait']['mode']): Consequence | null {
  return mode === 'Reject' ? { kind: 'deny', failing: waitsItsTurn(tree) } : null;
}

function queueFull({ room, configs }: ModelTree, leaf: NodeName): Failing | null {
  const { waiters } = room;
  const counts: readonly (readonly [NodeName, number])[] = [
    [leaf, waiters.filter(({ request }) => request.leaf === leaf).length],
    ['account', waiters.length],
  ];
  for (const [name, used] of counts.slice(leaf === 'account' ? 1 : 0)) {
    const amount = configs.get(name)?.maxQueue ?? null;
    if (amount !== null && used >= amount) return failing('QueueFull', name, 'queue', { used, amount });
  }
  return null;
}

/** `next` null: it fits, but others are first. */
function enqueue(
  tree: ModelTree,
  arrival: Omit<Waiter, 'round' | 'seq'>,
  { retry, next }: { readonly retry: Retry | null; readonly next: Consequence | null },
): Waiter {
  const { room } = tree;
  const waiter: Waiter = { ...arrival, ...turnOf(tree, arrival, retry) };
  const sub = room.join(waiter);
  if (room.headOf(waiter.sub) !== waiter) return waiter;
  if (next?.kind === 'park') {
    parkAt(tree, sub, next.failing);
  } else {
    room.makeRunnable(sub);
    if (next?.kind === 'root') room.setTimer('account', next.timerMs);
  }
  return waiter;
}

/** A retry is first; a call that comes back takes the place it left; else owners of a flow take turns. */
function turnOf(
  { room, now }: ModelTree,
  arrival: Omit<Waiter, 'round' | 'seq'>,
  retry: Retry | null,
): { readonly round: number; readonly seq: number } {
  const { owner, place } = arrival.request;
  const flow = room.flowOf(arrival);
  if (retry) return { round: 0, seq: retry.seq ?? room.nextSeq() };
  const key = placeKey(owner, place ?? '');
  const kept = room.places.get(key);
  if (place !== null && kept && kept.value.sub === arrival.sub && now.logicalMs < kept.untilMs) {
    room.places.delete(key);
    return { round: kept.value.round, seq: kept.value.seq };
  }
  const round = Math.max(flow.round, (flow.turns.get(owner) ?? -1) + 1);
  flow.turns.set(owner, round);
  return { round, seq: room.nextSeq() };
}
