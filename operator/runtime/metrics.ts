/** The runtime's metrics, under the names controller-runtime and client-go gave them: stock dashboards work. */
import type { Counter, Gauge, Histogram, Registry } from 'prom-client';
import { counter, gauge, histogram } from '../../sidecar/base/metrics.ts';

export const RECONCILE_RESULTS = ['success', 'requeue_after', 'error', 'terminal_error', 'cancelled'] as const;
export type ReconcileResult = (typeof RECONCILE_RESULTS)[number];

export const REFLECTOR_EVENTS = ['list', 'watch', 'relist', 'expired', 'silence', 'error'] as const;
export type ReflectorEvent = (typeof REFLECTOR_EVENTS)[number];

const SECONDS = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60] as const;

export interface RuntimeMetrics {
  readonly requests: Counter;
  readonly requestSeconds: Histogram;
  readonly reconciles: Counter;
  readonly reconcileSeconds: Histogram;
  readonly activeWorkers: Gauge;
  readonly queueDepth: Gauge;
  readonly queueAdds: Counter;
  readonly queueRetries: Counter;
  readonly queueWaitSeconds: Histogram;
  readonly queueWorkSeconds: Histogram;
  readonly queueUnfinishedSeconds: Gauge;
  readonly queueLongestSeconds: Gauge;
  readonly leading: Gauge;
  readonly reflectorEvents: Counter;
  readonly storeObjects: Gauge;
}

export interface MetricNames {
  /** Names of all controllers (and their queues). */
  readonly controllers: readonly string[];
  /** Plurals of all watched resources. */
  readonly resources: readonly string[];
  /** Names of all leader-election leases. */
  readonly leases: readonly string[];
}

/** Declares the runtime's metrics; every series is there from the start. */
export function createRuntimeMetrics(registry: Registry, names: MetricNames): RuntimeMetrics {
  const controller = names.controllers;
  const resource = names.resources;
  return {
    requests: counter(registry, {
      name: 'rest_client_requests_total',
      help: 'Requests to the API server by method and class of answer.',
      labels: { method: ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'], code: ['2xx', '3xx', '4xx', '5xx', '<error>'] },
    }),
    requestSeconds: histogram(registry, {
      name: 'rest_client_request_duration_seconds',
      help: 'Time of calls to the API server, watches excluded.',
      labels: { verb: ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'] },
      buckets: SECONDS,
    }),
    reconciles: counter(registry, {
      name: 'controller_runtime_reconcile_total',
      help: 'Reconciliations by outcome.',
      labels: { controller, result: RECONCILE_RESULTS },
    }),
    reconcileSeconds: histogram(registry, {
      name: 'controller_runtime_reconcile_time_seconds',
      help: 'Time of one reconciliation.',
      labels: { controller },
      buckets: SECONDS,
    }),
    activeWorkers: gauge(registry, {
      name: 'controller_runtime_active_workers',
      help: 'Reconciliations under way.',
      labels: { controller },
    }),
    queueDepth: gauge(registry, { name: 'workqueue_depth', help: 'Keys waiting.', labels: { name: controller } }),
    queueAdds: counter(registry, { name: 'workqueue_adds_total', help: 'Keys added.', labels: { name: controller } }),
    queueRetries: counter(registry, {
      name: 'workqueue_retries_total',
      help: 'Keys added again after a failure.',
      labels: { name: controller },
    }),
    queueWaitSeconds: histogram(registry, {
      name: 'workqueue_queue_duration_seconds',
      help: 'Time from adding a key to working on it.',
      labels: { name: controller },
      buckets: SECONDS,
    }),
    queueWorkSeconds: histogram(registry, {
      name: 'workqueue_work_duration_seconds',
      help: 'Time of work on a key.',
      labels: { name: controller },
      buckets: SECONDS,
    }),
    queueUnfinishedSeconds: gauge(registry, {
      name: 'workqueue_unfinished_work_seconds',
      help: 'Sum of the time spent so far on keys being worked on.',
      labels: { name: controller },
    }),
    queueLongestSeconds: gauge(registry, {
      name: 'workqueue_longest_running_processor_seconds',
      help: 'The longest time spent so far on a key being worked on.',
      labels: { name: controller },
    }),
    leading: gauge(registry, {
      name: 'leader_election_master_status',
      help: '1 while this process leads.',
      labels: { name: names.leases },
    }),
    reflectorEvents: counter(registry, {
      name: 'reflector_events_total',
      help: 'Lists, watches and what went wrong with them.',
      labels: { resource, event: REFLECTOR_EVENTS },
    }),
    storeObjects: gauge(registry, { name: 'store_objects', help: 'Objects in the cache.', labels: { resource } }),
  };
}
