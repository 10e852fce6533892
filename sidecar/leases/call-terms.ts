/** What a call asks for, from what its quota fixes and what its caller claims. Pure. */
import { amountsOf } from '../catalog/amounts.ts';
import { route } from '../catalog/route.ts';
import type { SidecarSnapshot } from '../control/terms.ts';
import { type Attributes, type WaitPolicy } from '../engine/terms.ts';
import { PRIORITY_CLASSES, type PriorityClass } from '../engine/tree-terms.ts';
import type { CallSpec, Claims } from './terms.ts';
import type { Ask } from './tree-call.ts';

type Binding = SidecarSnapshot['binding'];

/** The engine takes no longer wait. */
const LONGEST_WAIT_MS = 86_400_000;

export function lowerClass(one: PriorityClass, other: PriorityClass): PriorityClass {
  return PRIORITY_CLASSES.indexOf(one) > PRIORITY_CLASSES.indexOf(other) ? one : other;
}

/** The quota's class, or the one asked for if that is lower than the highest allowed (rule W6). */
export function classOf({ class: allowed }: Binding, claimed: PriorityClass | undefined): PriorityClass {
  return lowerClass(claimed ?? allowed.default, allowed.max);
}

/** What pod and pool say wins over what the caller says. */
export function attributesOf({ attributes }: Binding, claimed: Claims['attributes']): Attributes {
  return { ...claimed, ...attributes };
}

/** The quota's policy; a caller may only shorten the wait. */
export function waitOf({ waiting }: Binding, claimedMs: number | undefined): WaitPolicy {
  const { mode } = waiting;
  if (mode === 'Reject') return { mode, maxWaitMs: 0 };
  const maxWaitMs = Math.min(waiting.maxWaitMs, claimedMs ?? waiting.maxWaitMs, LONGEST_WAIT_MS);
  return { mode, maxWaitMs: Math.max(0, Math.floor(maxWaitMs)) };
}

/** The question for Redis. `mayWait` false: no place is asked for. Fails as `amountsOf` does. */
export function askOf(
  snapshot: SidecarSnapshot,
  call: CallSpec & { readonly id: string },
  { atMs, mayWait }: { readonly atMs: number; readonly mayWait: boolean },
): Ask {
  const { binding, catalog, revision } = snapshot;
  const { model, estimate: usage, costUnits = 0, runtimeSeconds = 0, claims } = call;
  const counted = { model, usage, atMs, currency: binding.currency, costUnits, runtimeSeconds };
  return {
    id: call.id,
    leaf: binding.leaf,
    model: route(catalog, model).model,
    generation: revision.generation,
    reserve: amountsOf(catalog, counted),
    maxRuntimeMs: binding.maxRuntimeMs,
    class: classOf(binding, claims?.class),
    // Calls of one leaf and class share as one; who is who inside comes with the snapshot, when it does.
    flowKey: '',
    attributes: attributesOf(binding, claims?.attributes),
    place: mayWait ? (call.place?.() ?? null) : null,
  };
}
