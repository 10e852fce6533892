/** What callers are told, from what the engine says. Pure. */
import type { SidecarSnapshot } from '../control/terms.ts';
import type { Denied } from '../engine/terms.ts';
import type { Admission, Denial, HeldLease } from './terms.ts';

export const NOT_CONFIGURED = 'no configuration of the operator is in force';
export const SHUTTING_DOWN = 'the sidecar is shutting down';
export const STORE_AWAY = 'the quota store cannot be asked at the moment';
export const CHANGING = 'the configuration of this quota is changing';
export const STOPPED = 'the quota was stopped, and its calls ended, by its owner';

export function admitted(lease: HeldLease): Admission {
  return { kind: 'admitted', lease };
}

export function unavailable(message: string): Admission {
  return { kind: 'unavailable', message };
}

/** With the time to come back in local time. */
export function denialOf({ reason, node, limit, used, amount, retryAtMs, serverNowMs }: Denied, nowMs: number): Denial {
  const localMs = retryAtMs === null ? null : nowMs + (retryAtMs - serverNowMs);
  return { kind: 'denied', reason, node, limit, used, amount, retryAtMs: localMs };
}

/** The pod has as many calls in flight as it may. */
export function perAgentDenial({ binding }: SidecarSnapshot, inside: number): Denial {
  const amount = binding.perAgentConcurrency ?? inside;
  const blame = { node: binding.leaf, limit: 'per-agent', used: inside, amount };
  return { kind: 'denied', reason: 'PerAgent', ...blame, retryAtMs: null };
}

/** More calls of the pod wait for its own limit than make sense. */
export function perAgentQueueFull({ binding }: SidecarSnapshot, waiting: number): Denial {
  const blame = { node: binding.leaf, limit: 'per-agent', used: waiting, amount: waiting };
  return { kind: 'denied', reason: 'QueueFull', ...blame, retryAtMs: null };
}

/** Its owner wants no call of the quota to run or wait. */
export function stoppedDenial({ binding }: SidecarSnapshot): Denial {
  const blame = { node: binding.leaf, limit: 'stop', used: 0, amount: 0 };
  return { kind: 'denied', reason: 'Stopped', ...blame, retryAtMs: null };
}
