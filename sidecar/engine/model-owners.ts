/** Reference model: what owners say of their leases and waiters. Pure. */
import { ENGINE_CONSTANTS } from './constants.ts';
import { grantOf } from './model-grant.ts';
import { giveBack, revive, take } from './model-lifecycle.ts';
import { classOf } from './model-path.ts';
import { hear, placeKey, type Waiter } from './model-queue.ts';
import type { ModelTree } from './model-tree.ts';
import type { LeaseRef, Notice } from './port.ts';
import type { AcquireRequest, Denied, Grant } from './terms.ts';

/** False: it is gone, or somebody else's. */
export function beatLease(
  { leases }: ModelTree,
  owner: string,
  { id, fence }: Pick<LeaseRef, 'id' | 'fence'>,
): boolean {
  const lease = leases.find(id);
  if (!lease?.live || lease.fence !== fence || lease.request.owner !== owner) return false;
  leases.extend(lease);
  return true;
}

/** What became of a waiter, or the waiter itself; null: nobody knows it. */
export function fateOf(tree: ModelTree, owner: string, id: string): Notice | Waiter | null {
  const { room, leases, now } = tree;
  const waiter = room.find(id);
  if (waiter) {
    if (waiter.request.owner !== owner) return null;
    hear(waiter, now);
    return waiter;
  }
  const lease = leases.find(id);
  if (lease?.live && lease.request.owner === owner) {
    leases.extend(lease);
    return noticeOf(id, grantOf(tree, lease, []));
  }
  const denial = room.notice(id, owner, now.logicalMs);
  if (!denial) return null;
  room.notices.delete(id);
  return noticeOf(id, denial);
}

export const noticeOf = (id: string, outcome: Grant | Denied): Notice =>
  outcome.kind === 'granted' ? { kind: 'granted', id, grant: outcome } : { kind: 'denied', id, denial: outcome };

/** Takes back a grant or a wait of `owner` (null: of anybody). */
export function takeBack(
  tree: ModelTree,
  id: string,
  { owner, keepPlace }: { readonly owner: string | null; readonly keepPlace: boolean },
): void {
  const { room, leases, now } = tree;
  const lease = leases.find(id);
  const waiter = room.find(id);
  const whose = (lease ?? waiter)?.request.owner;
  if (owner !== null && whose !== undefined && whose !== owner) return;
  if (lease) {
    giveBack(tree, lease);
    return;
  }
  if (waiter) {
    const { place } = waiter.request;
    const { sub, round, seq } = waiter;
    const untilMs = now.logicalMs + ENGINE_CONSTANTS.PLACE_MS;
    if (keepPlace && place !== null)
      room.places.set(placeKey(waiter.request.owner, place), { value: { sub, round, seq }, untilMs });
    room.leave(waiter);
  }
  leases.finish(id);
}

/** Registers a lease that still runs: extends it, revives it, or puts it back if Redis forgot it. */
export function registerLease(tree: ModelTree, request: AcquireRequest, fence: number, sent: boolean): void {
  const { leases, room, clock, configs } = tree;
  const { id, owner } = request;
  const lease = leases.find(id);
  if (lease) {
    if (lease.fence !== fence || lease.request.owner !== owner) return;
    if (lease.live) leases.extend(lease);
    else revive(tree, lease);
    return;
  }
  if (leases.isDone(id)) return;
  const waiter = room.find(id);
  if (waiter) room.leave(waiter);
  // On the whole tree at least, if its leaf is gone.
  const counted = tree.path(request) ? request : { ...request, leaf: 'account' };
  const path = tree.path(counted);
  if (!path) return;
  clock.fence = Math.max(clock.fence, fence) + 1;
  take(tree, counted, path, { fence, class: classOf(counted, configs), force: true }).claimed = sent;
}

/** Nobody may ever take back the mark of a process of which nothing is left: it ends when nothing of it can come in late. */
export function endMark({ draining, now }: ModelTree, prefix: string): void {
  const process = prefix.endsWith('/') ? prefix.slice(0, -1) : null;
  if (process !== null && draining.get(process) === null)
    draining.set(process, now.logicalMs + ENGINE_CONSTANTS.LATE_MS);
}
