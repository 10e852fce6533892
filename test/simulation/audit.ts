/** Counters are their leases (inv-I2): what Redis counts is looked at again and again, and must equal its recount. */
import type { Model } from '#sidecar/engine/model.ts';
import type { Slot } from '#sidecar/engine/model-node.ts';
import type { Stage } from './run.ts';

const EVERY_MS = 1000;

/** Until the run is over. */
export function auditOften(stage: Stage): void {
  const { schedule, store, violated } = stage;
  schedule.after(EVERY_MS, () => {
    const drift = driftOf(store.master.model);
    if (drift !== null) violated('inv-I2 a counter is not its leases', drift);
    auditOften(stage);
  });
}

/** The first difference; null: there is none. */
export function driftOf({ tree }: Model): string | null {
  const slots = new Map<string, Set<Slot>>();
  const held = new Map<string, Set<string>>();
  const count = <T>(sets: Map<string, Set<T>>, key: string, item: T): void => {
    sets.set(key, (sets.get(key) ?? new Set()).add(item));
  };
  for (const { slot, nodes } of tree.leases.holds) for (const name of nodes) count(slots, name, slot);
  for (const { slot, taken, landed, request } of tree.leases.live) {
    for (const { node, charges } of taken) {
      count(slots, node, slot);
      if (!landed)
        for (const { key, known } of charges) if (!isMeter(key) || !known) count(held, `${node} ${key}`, request.id);
    }
  }
  for (const [name, node] of tree.nodes) {
    if (node.inFlight.symmetricDifference(slots.get(name) ?? new Set()).size > 0)
      return `${name}: ${node.inFlight.size} in flight, its leases are ${slots.get(name)?.size ?? 0}`;
    for (const [key, window] of node.windows) {
      const ids = held.get(`${name} ${key}`) ?? new Set();
      if (new Set(window.held.keys()).symmetricDifference(ids).size > 0)
        return `${name} ${key}: ${window.held.size} hold, its leases are ${ids.size}`;
    }
  }
  return null;
}

/** What is known at the grant lands there in windows of our own: nothing is held. */
function isMeter(key: string): boolean {
  return !key.includes('|Anchored|');
}
