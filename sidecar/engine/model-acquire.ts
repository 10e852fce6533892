/** Reference model: what becomes of a call that asks. Pure. */
import { denialOf, failing, refuseOrWait, type Consequence, type Failing } from './model-check.ts';
import { parkAt, waitsItsTurn } from './model-dispatch.ts';
import { grantNow, grantOf } from './model-grant.ts';
import { classOf } from './model-path.ts';
import { type Flow, hear, lineOf, type Place, placeKey, type Waiter } from './model-queue.ts';
import type { ModelTree } from './model-tree.ts';
import type { AcquireRequest, Denied, SettleReply, Verdict } from './terms.ts';
import type { NodeName } from './tree-terms.ts';

const MAX_WAIT_MS = 86_400_000;

/** The answer to a call; a waiter is answered as it stands when the queue was served. */
export function asked(tree: ModelTree, request: AcquireRequest): Verdict | Waiter {
  return known(tree, request) ?? stale(tree, request) ?? drained(tree, request) ?? decide(tree, request, null);
}

/** A call whose settlement is `settled` goes back to the head of its flow; `seq`: its place there, if it had one. */
export function retry(
  tree: ModelTree,
  request: AcquireRequest,
  settled: SettleReply,
  seq: number | null,
): Verdict | Waiter {
  if (settled.kind === 'unknown') return { kind: 'done' };
  const answer = known(tree, request) ?? stale(tree, request) ?? decide(tree, request, { seq });
  if (!isWaiter(answer) && (answer.kind === 'denied' || answer.kind === 'stale')) tree.leases.finish(request.id);
  return answer;
}

/** A place at the head of the flow, for a call that was granted and refused by the vendor (rule Q7). */
interface Retry {
  readonly seq: number | null;
}

export const isWaiter = (answer: Verdict | Waiter): answer is Waiter => !('kind' in answer);

/** The answer for an id that was seen before; null: it is new. A waiter is asked for again. */
function known(tree: ModelTree, request: AcquireRequest): Verdict | Waiter | null {
  const { room, leases, now } = tree;
  const { id, owner } = request;
  const lease = leases.find(id);
  if (lease) return lease.live && lease.request.owner === owner ? grantOf(tree, lease, []) : { kind: 'done' };
  const waiter = room.find(id);
  if (waiter) {
    if (waiter.request.owner !== owner) return { kind: 'done' };
    waiter.deadlineMs = Math.max(waiter.deadlineMs, deadlineOf(tree, request));
    hear(waiter, now);
    keepTurn(tree, waiter);
    return waiter;
  }
  return room.notice(id, owner, now.logicalMs) ?? (leases.isDone(id) ? { kind: 'done' } : null);
}

/** Null: the caller's tree is the one in force. */
function stale(tree: ModelTree, request: AcquireRequest): Verdict | null {
  const { config } = tree;
  if (!config) return { kind: 'stale', generation: 0 };
  const { revision, pathGeneration } = config;
  const current = request.generation >= pathGeneration && request.generation <= revision.generation;
  return current && tree.path(request) ? null : { kind: 'stale', generation: revision.generation };
}

/** The denial of a new call whose process is marked: what stands before the last `/` of an owner. */
function drained(tree: ModelTree, { owner }: AcquireRequest): Denied | null {
  const process = owner.slice(0, Math.max(0, owner.lastIndexOf('/')));
  const untilMs = tree.draining.get(process);
  const isDraining = untilMs === null || (untilMs !== undefined && tree.now.logicalMs < untilMs);
  return isDraining ? denialOf(failing('Draining', 'account', 'drain'), tree) : null;
}

/** Grants, refuses or queues a call that was never seen. */
function decide(tree: ModelTree, request: AcquireRequest, again: Retry | null): Verdict | Waiter {
  const path = tree.path(request) ?? [];
  const priority = classOf(request, tree.configs);
  const arrival = { request, class: priority, ...lineOf(request, priority) };
  const failings = tree.check(path, { ...arrival, headOf: null });
  if (failings.length === 0 && mayGoFirst(tree, arrival.sub)) return grantNow(tree, arrival, path);
  const { mode } = request.wait;
  const deadlineMs = deadlineOf(tree, request);
  const why = failings.length > 0 ? refuseOrWait(failings, mode, deadlineMs, tree) : waitOrReject(tree, mode);
  if (why?.kind === 'deny') return denialOf(why.failing, tree);
  const full = queueFull(tree, request.leaf);
  if (full) return denialOf(full, tree);
  return enqueue(tree, { ...arrival, deadlineMs, sinceMs: tree.now.logicalMs }, { again, why });
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

type Arriving = Omit<Waiter, 'round' | 'seq' | 'endsMs'>;

/** `why` null: it fits, but others are first. */
function enqueue(
  tree: ModelTree,
  arrival: Arriving,
  { again, why }: { readonly again: Retry | null; readonly why: Consequence | null },
): Waiter {
  const { room } = tree;
  const flow = room.flowOf(arrival);
  const waiter: Waiter = { ...arrival, ...turnOf(tree, arrival, { flow, again }), endsMs: 0 };
  hear(waiter, tree.now);
  const sub = room.join(waiter, flow);
  if (room.headOf(waiter.sub) !== waiter) return waiter;
  if (why?.kind === 'park') parkAt(tree, sub, why.failing);
  else room.makeRunnable(sub);
  return waiter;
}

/** A waiter waits longer than it said at first. */
function keepTurn({ room, now }: ModelTree, { flow, request, deadlineMs }: Waiter): void {
  const turns = room.flows.get(flow)?.turns;
  const turn = turns?.get(request.owner);
  if (turn && now.logicalMs < turn.untilMs)
    turns?.set(request.owner, { ...turn, untilMs: Math.max(turn.untilMs, deadlineMs) });
}

/**
 * A retry is first; a call that comes back takes the place it left, but in a flow that began anew since then it stands no
 * later than a newcomer; else owners of a flow take turns.
 */
function turnOf(
  tree: ModelTree,
  arrival: Arriving,
  { flow, again }: { readonly flow: Flow; readonly again: Retry | null },
): { readonly round: number; readonly seq: number } {
  const { room, now } = tree;
  const { owner } = arrival.request;
  if (again) return { round: 0, seq: again.seq ?? room.nextSeq() };
  const kept = takePlace(tree, arrival);
  const turn = flow.turns.get(owner);
  const last = turn && now.logicalMs < turn.untilMs ? turn : { round: -1, untilMs: 0 };
  const next = Math.max(flow.round, last.round + 1);
  const round = Math.min(kept?.round ?? next, next);
  flow.turns.set(owner, {
    round: Math.max(round, last.round),
    untilMs: Math.max(last.untilMs, arrival.deadlineMs),
  });
  return { round, seq: kept?.seq ?? room.nextSeq() };
}

/** The place somebody of that name left a moment ago; nobody else finds it any more. */
function takePlace({ room, now }: ModelTree, { request, sub }: Arriving): Place | null {
  const { owner, place } = request;
  const key = placeKey(owner, place ?? '');
  const kept = room.places.get(key);
  if (place === null || kept?.value.sub !== sub || now.logicalMs >= kept.untilMs) return null;
  room.places.delete(key);
  return kept.value;
}
