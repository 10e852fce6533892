/** What the leader did to trees besides configuring them. */
import type { Counter, Registry } from 'prom-client';
import { counter } from '../../sidecar/base/metrics.ts';

export interface TreeMetrics {
  readonly audits: Counter;
  readonly repairs: Counter;
  readonly checkpoints: Counter;
  readonly reclaimed: Counter;
}

/** Declares the metrics; every series is there from the start. */
export function createTreeMetrics(registry: Registry): TreeMetrics {
  return {
    audits: counter(registry, {
      name: 'glmquota_tree_audits_total',
      help: 'Counters of a tree compared with a recount from its leases: clean, or drift, which is a bug.',
      labels: { result: ['clean', 'drift', 'failed'] },
    }),
    repairs: counter(registry, {
      name: 'glmquota_tree_repairs_total',
      help: 'Configurations in Redis that were not as the operator wrote them and were written again.',
      labels: {},
    }),
    checkpoints: counter(registry, {
      name: 'glmquota_checkpoints_total',
      help: 'Checkpoints of trees written to Secrets.',
      labels: { result: ['written', 'failed'] },
    }),
    reclaimed: counter(registry, {
      name: 'glmquota_reclaimed_total',
      help: 'Leases and waiters ended because their pod is gone.',
      labels: { kind: ['lease', 'waiter'] },
    }),
  };
}
