/** What must hold of the model after every call, whatever happened: it is the definition, so it is checked by itself too. */
import { deepEqual, ok } from 'node:assert/strict';
import { ENGINE_CONSTANTS } from '#sidecar/engine/constants.ts';
import type { Model } from '#sidecar/engine/model.ts';
import type { ModelTree } from '#sidecar/engine/model-tree.ts';

export function checkModel({ tree }: Model): void {
  checkSlots(tree);
  checkReserves(tree);
  checkRoom(tree);
}

/** inv-I2 Every node counts exactly the live leases and the holds that were taken there. */
function checkSlots(tree: ModelTree): void {
  const taken = new Map<string, number>();
  const count = (name: string): void => void taken.set(name, (taken.get(name) ?? 0) + 1);
  for (const lease of tree.leases.live) for (const { node } of lease.taken) count(node);
  for (const hold of tree.leases.holds) for (const node of hold.nodes) count(node);
  for (const [name, node] of tree.nodes) deepEqual([name, node.inFlight.size], [name, taken.get(name) ?? 0]);
}

/** inv-I2 Every window holds exactly what live leases reserve of it. */
function checkReserves(tree: ModelTree): void {
  const reserved = new Map<string, number>();
  const holding = tree.leases.live.filter(({ landed }) => !landed);
  for (const { node, charges } of holding.flatMap(({ taken }) => taken)) {
    for (const { key, reserve, known } of charges) {
      const isMeter = tree.node(node).windows.get(key)?.kind === 'meter';
      if (!(isMeter && known)) reserved.set(`${node} ${key}`, (reserved.get(`${node} ${key}`) ?? 0) + reserve);
    }
  }
  for (const [name, node] of tree.nodes) {
    for (const [key, window] of node.windows) {
      const held = [...window.held.values()].reduce((sum, amount) => sum + amount, 0);
      deepEqual([name, key, held], [name, key, reserved.get(`${name} ${key}`) ?? 0]);
    }
  }
}

function checkRoom(tree: ModelTree): void {
  const { room, leases } = tree;
  deepEqual(room.wakes, []);
  if (room.waiters.length === 0) {
    const left = [room.flows, room.subs, room.bottlenecks, room.timers].map(({ size }) => size);
    deepEqual([...left, room.time, room.guard], [0, 0, 0, 0, 0, null], 'an empty waiting room leaves nothing behind');
  }
  const ids = room.waiters.map(({ request }) => request.id);
  deepEqual(ids.length, new Set(ids).size);
  for (const { request, sub, flow } of room.waiters) {
    ok(!leases.find(request.id), `${request.id} waits and has a lease`);
    ok(room.subs.has(sub) && room.flows.has(flow));
  }
  for (const sub of room.subs.values()) {
    ok(room.headOf(sub.name), 'a sub-queue without waiters');
    ok(sub.x === null || room.bottlenecks.has(sub.x));
    if (sub.x === null) ok(sub.flow.tag >= room.time, 'a flow that may be dispatched is behind virtual time');
  }
  if (room.guard) ok(room.subs.has(room.guard.sub), 'the guard keeps room for nobody');
}

/**
 * inv-L1 After a call that is done with its work nobody waits who would fit; but who waits for a share of a window of
 * which nobody can say when it ends looks again after the guard time.
 */
export function checkNobodyFits({ tree }: Model): void {
  const { room, now } = tree;
  const learnt = [...tree.nodes.values()].map((node) => [node, structuredClone(node.learnt)] as const);
  for (const sub of room.subs.values()) {
    const waiter = room.headOf(sub.name);
    const path = waiter && tree.path(waiter.request);
    const againMs = (room.timers.get(sub.x ?? '') ?? Infinity) - now.logicalMs;
    if (!path || againMs <= ENGINE_CONSTANTS.GUARD_MS) continue;
    const failings = tree.check(path, { request: waiter.request, class: waiter.class, headOf: sub.name });
    const where = sub.x !== null ? `parked at ${sub.x}` : 'runnable';
    ok(failings.length > 0, `${waiter.request.id} fits and waits all the same, ${where}`);
  }
  for (const [node, before] of learnt) node.learnt = before;
}
