/** Counters are their leases (inv-I2): what Redis counts is looked at again and again, and must equal its recount. */
import type { Model } from '#sidecar/engine/model.ts';
import type { ModelCharge, Slot } from '#sidecar/engine/model-node.ts';
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
export function driftOf(model: Model): string | null {
  const { slots, held } = recount(model);
  for (const [name, node] of model.tree.nodes) {
    if (!isSame(node.inFlight, slots.get(name)))
      return `${name}: ${node.inFlight.size} in flight, its leases are ${slots.get(name)?.size ?? 0}`;
    for (const [key, window] of node.windows) {
      const ids = held.get(`${name} ${key}`);
      if (!isSame(new Set(window.held.keys()), ids))
        return `${name} ${key}: ${window.held.size} hold, its leases are ${ids?.size ?? 0}`;
    }
  }
  return null;
}

interface Counts {
  /** Node → slots taken there. */
  readonly slots: Map<string, Set<Slot>>;
  /** Node and window → ids that hold of it. */
  readonly held: Map<string, Set<string>>;
}

function recount({ tree }: Model): Counts {
  const counts: Counts = { slots: new Map(), held: new Map() };
  for (const { slot, nodes } of tree.leases.holds) for (const name of nodes) count(counts.slots, name, slot);
  for (const lease of tree.leases.live) {
    for (const { node, charges } of lease.taken) {
      count(counts.slots, node, lease.slot);
      const holding = lease.landed ? [] : charges.filter(holds);
      for (const { key } of holding) count(counts.held, `${node} ${key}`, lease.request.id);
    }
  }
  return counts;
}

function count<T>(sets: Map<string, Set<T>>, key: string, item: T): void {
  sets.set(key, (sets.get(key) ?? new Set()).add(item));
}

function isSame<T>(one: ReadonlySet<T>, other: ReadonlySet<T> = new Set()): boolean {
  return one.symmetricDifference(other).size === 0;
}

/** What is known at the grant lands there in windows of our own: nothing is held. */
function holds({ key, known }: ModelCharge): boolean {
  return !known || key.includes('|Anchored|');
}
