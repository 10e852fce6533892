/** Reference model: who is served, refused or parked, and in which order (rules Q2 to Q6). Pure. */
import { ENGINE_CONSTANTS } from './constants.ts';
import { bestOf, denialOf, failing, refuseOrWait, type Failing } from './model-check.ts';
import { grantWaiter, reviewGuard } from './model-grant.ts';
import { compare, type SubQueue, type Waiter, type Wake } from './model-queue.ts';
import type { ModelTree } from './model-tree.ts';

const { DISPATCH_BUDGET, NOTICE_MS, WAITER_REAP_BUDGET } = ENGINE_CONSTANTS;

/** Nothing speaks against the call itself, but others wait before it. */
export const waitsItsTurn = ({ room }: ModelTree): Failing =>
  failing('Waiting', 'account', 'queue', { used: room.waiters.length });

/** How a dispatch ended: nobody is left to look at, the account is closed to all, or its budget is used up. */
export type Left = 'nobody' | 'root' | 'more';

/** Waiters whose time is over are told why; those nobody asks for any more leave in silence. True: there are more of them. */
export function reapWaiters(tree: ModelTree): boolean {
  const { room, clock, now } = tree;
  const due = room.waiters
    .filter(({ endsMs }) => endsMs <= now.logicalMs)
    .toSorted((a, b) => a.endsMs - b.endsMs || (a.request.id < b.request.id ? -1 : 1));
  for (const waiter of due.slice(0, WAITER_REAP_BUDGET)) {
    if (waiter.deadlineMs <= now.logicalMs) deny(tree, waiter, bestOf(failingsOf(tree, waiter)) ?? waitsItsTurn(tree));
    else if (clock.afterGap) waiter.endsMs = Math.min(waiter.deadlineMs, clock.noReapUntilMs);
    else room.leave(waiter);
  }
  return due.length > WAITER_REAP_BUDGET;
}

/** Serves who waits, at the end of every call that writes. */
export function dispatch(tree: ModelTree): Left {
  const { room, now } = tree;
  if (room.waiters.length === 0) return 'nobody';
  fireTimers(tree);
  let left: Left = 'more';
  for (let steps = 0; steps < DISPATCH_BUDGET && left === 'more'; steps += 1) {
    feed(tree);
    left = step(tree);
  }
  if (left === 'more') feed(tree);
  if (left === 'root') returnMoved(tree);
  if (left === 'more' && room.wakes.length + room.runnable.length === 0) left = 'nobody';
  for (const { x, cursor } of room.wakes) {
    room.timers.set(x, now.logicalMs);
    const bottleneck = room.bottlenecks.get(x);
    if (bottleneck && left === 'more') bottleneck.cursor = cursor;
  }
  room.wakes = [];
  return left;
}

/** Who cannot be served yet waits where it was, so that each bottleneck lets out one by one, in its own order. */
function returnMoved(tree: ModelTree): void {
  const { room } = tree;
  for (const { x, moved } of room.wakes) {
    if (!moved) continue;
    room.park(moved, x, { keepsPlace: true });
    reviewGuard(tree, moved);
  }
}

function fireTimers({ room, now }: ModelTree): void {
  const due = [...room.timers]
    .filter(([, atMs]) => atMs <= now.logicalMs)
    .toSorted(([a, aMs], [b, bMs]) => aMs - bMs || (a < b ? -1 : 1))
    .slice(0, DISPATCH_BUDGET);
  for (const [x] of due) {
    room.timers.delete(x);
    room.wake(x, 'timer');
  }
}

/** Every woken bottleneck has one sub-queue on its way; one without more behind its cursor is done. */
function feed({ room }: ModelTree): void {
  for (const wake of room.wakes) {
    if (wake.moved) continue;
    const { cursor } = wake;
    const next = room
      .parkedAt(wake.x)
      .find((sub) => cursor === null || compare(room.cursorOf(sub, wake.x), cursor) > 0);
    if (next) {
      Object.assign(wake, { cursor: room.cursorOf(next, wake.x), moved: next });
      room.makeRunnable(next);
    } else {
      room.wakes = room.wakes.filter((each) => each !== wake);
    }
  }
}

/** The flow with the lowest tag; in it the sub-queue whose head came first. */
function pick({ room }: ModelTree): { readonly sub: SubQueue; readonly waiter: Waiter } | undefined {
  const heads = room.runnable.flatMap((sub) => {
    const waiter = room.headOf(sub.name);
    return waiter ? [{ sub, waiter }] : [];
  });
  const [first] = heads.toSorted(
    (a, b) =>
      a.sub.flow.tag - b.sub.flow.tag ||
      a.sub.flow.birth - b.sub.flow.birth ||
      a.waiter.round - b.waiter.round ||
      a.waiter.seq - b.waiter.seq,
  );
  return first;
}

/** One look at whoever is next. */
function step(tree: ModelTree): Left {
  const { room } = tree;
  const picked = pick(tree);
  if (!picked) return 'nobody';
  const { sub, waiter } = picked;
  const path = tree.path(waiter.request);
  const failings = failingsOf(tree, waiter);
  if (path && failings.length === 0) {
    afterGrant(tree, sub, grantWaiter(tree, waiter, path));
    return 'more';
  }
  const why = refuseOrWait(failings, waiter.request.wait.mode, waiter.deadlineMs, tree);
  if (why.kind === 'root') {
    room.setTimer('account', why.timerMs);
    return 'root';
  }
  if (why.kind === 'park') {
    parkAt(tree, sub, why.failing);
    afterParking(tree, sub, why.failing);
  } else {
    deny(tree, waiter, why.failing);
    const wake = wakeOf(tree, sub);
    if (wake && !room.subs.has(sub.name)) wake.moved = null;
  }
  return 'more';
}

/** The woken bottleneck that a sub-queue was moved from. */
const wakeOf = ({ room }: ModelTree, sub: SubQueue): Wake | undefined => room.wakes.find(({ moved }) => moved === sub);

/** The rest of a woken sub-queue stands in line at its bottleneck again, if the grant was counted there. */
function afterGrant(tree: ModelTree, sub: SubQueue, passed: readonly string[]): void {
  const { room } = tree;
  const wake = wakeOf(tree, sub);
  if (!wake) return;
  wake.moved = null;
  if (room.subs.has(sub.name) && passed.includes(wake.x)) room.park(sub, wake.x);
}

/** What holds everybody at the bottleneck holds the next one there as well. */
function afterParking(tree: ModelTree, sub: SubQueue, { x, everybody, reason }: Failing): void {
  const { room } = tree;
  const wake = wakeOf(tree, sub);
  if (!wake) return;
  wake.moved = null;
  if (x === wake.x && everybody && reason !== 'Stopped') room.wakes = room.wakes.filter((each) => each !== wake);
}

/** What speaks against the head of a sub-queue, or against a waiter as if it were that. */
function failingsOf(tree: ModelTree, waiter: Waiter): readonly Failing[] {
  const { request, class: priority, sub } = waiter;
  const path = tree.path(request);
  if (!path) return [failing('Gone', request.leaf, '', { never: true })];
  return tree.check(path, { request, class: priority, headOf: sub });
}

/** Waits where the failing limit is. */
export function parkAt(tree: ModelTree, sub: SubQueue, { x, timerMs }: Failing): void {
  tree.room.park(sub, x);
  tree.room.setTimer(x, timerMs);
  reviewGuard(tree, sub);
}

/** Kept for a while, in case its owner does not hear of it. */
function deny(tree: ModelTree, waiter: Waiter, why: Failing): void {
  const { room, now } = tree;
  const { id, owner } = waiter.request;
  const denial = denialOf(why, tree);
  room.leave(waiter);
  room.outcomes.set(id, denial);
  room.notices.set(id, { value: { owner, denial }, untilMs: now.logicalMs + NOTICE_MS });
}
