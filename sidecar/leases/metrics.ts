/** All metrics of the sidecar, in one table. Recording is a method call; nobody else names a series. */
import type { Gauge, Registry } from 'prom-client';
import { counter, gauge, histogram } from '../base/metrics.ts';
import type { ErrorClass } from '../catalog/terms.ts';
import type { Outcome } from '../engine/terms.ts';
import { DENY_REASONS, OUTCOMES } from '../engine/terms.ts';
import type { TokenUsage } from './terms.ts';

const VERDICTS = ['granted', ...DENY_REASONS, 'unavailable'] as const;
/** How a wait ended; `left`: its caller went away. */
const WAIT_ENDS = ['granted', 'denied', 'unavailable', 'left'] as const;
/** Classes of vendor errors after which a call is sent again. */
const RETRIED = ['Concurrency', 'Rate', 'Overload', 'Quota', 'Retry'] as const satisfies readonly ErrorClass[];
const OUTAGE_POLICIES = ['Closed', 'LocalShare', 'Open'] as const;
/** Calls that never asked for a lease. */
const PASSED_OR_REFUSED = [
  'passed',
  'denied',
  'unavailable',
  'invalid',
  'tooLarge',
  'notFound',
  'forbidden',
  'clientGone',
  'failed',
] as const;
const ENGINE_CALLS = ['acquire', 'claim', 'settle', 'swap', 'cancel', 'beat', 'tick', 'register', 'snapshot'] as const;

/** Seconds; a proxied call may take minutes, an engine call a millisecond. */
const CALL_BUCKETS = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800];
const ENGINE_BUCKETS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2];

type VerdictLabel = (typeof VERDICTS)[number];
/** How a proxied call ended: by a lease's outcome, or before there was a lease. */
export type CallLabel = Outcome | (typeof PASSED_OR_REFUSED)[number];
export type WaitEnd = (typeof WAIT_ENDS)[number];
export type OutagePolicy = (typeof OUTAGE_POLICIES)[number];
export type EngineCall = (typeof ENGINE_CALLS)[number];

export interface SidecarMetrics {
  call(ended: CallLabel, durationMs: number): void;
  verdict(verdict: VerdictLabel): void;
  tokens(usage: TokenUsage, source: 'vendor' | 'estimate'): void;
  firstByte(afterMs: number): void;
  engineCall(call: EngineCall, durationMs: number): void;
  engineError(call: EngineCall): void;
  leaseLost(count: number): void;
  settlementDropped(): void;
  waited(ended: WaitEnd, durationMs: number): void;
  retried(errorClass: ErrorClass): void;
  outage(policy: OutagePolicy): void;
  localGrant(policy: OutagePolicy): void;
  readonly inFlight: Gauge;
  readonly waiting: Gauge;
  readonly undelivered: Gauge;
  readonly snapshotGeneration: Gauge;
}

export function createSidecarMetrics(registry: Registry): SidecarMetrics {
  const calls = counter(registry, {
    name: 'glmquota_calls_total',
    help: 'Proxied calls by how they ended: a settlement outcome, or a refusal before any lease.',
    labels: { ended: [...OUTCOMES, ...PASSED_OR_REFUSED] },
  });
  const callSeconds = histogram(registry, {
    name: 'glmquota_call_duration_seconds',
    help: 'From the request head to the end of the response.',
    buckets: CALL_BUCKETS,
  });
  const verdicts = counter(registry, {
    name: 'glmquota_verdicts_total',
    help: 'What admission said.',
    labels: { verdict: VERDICTS },
  });
  const tokens = counter(registry, {
    name: 'glmquota_tokens_total',
    help: 'Tokens settled, by kind and by whether the vendor reported them or they were estimated.',
    labels: { kind: ['input', 'cached', 'output'], source: ['vendor', 'estimate'] },
  });
  const firstByteSeconds = histogram(registry, {
    name: 'glmquota_upstream_first_byte_seconds',
    help: 'From the first byte sent upstream to the head of its response.',
    buckets: CALL_BUCKETS,
  });
  const engineSeconds = histogram(registry, {
    name: 'glmquota_redis_call_duration_seconds',
    help: 'Answered calls of the quota engine.',
    labels: { call: ENGINE_CALLS },
    buckets: ENGINE_BUCKETS,
  });
  const engineErrors = counter(registry, {
    name: 'glmquota_redis_errors_total',
    help: 'Calls of the quota engine that Redis did not answer, or answered with an error.',
    labels: { call: ENGINE_CALLS },
  });
  const lost = counter(registry, {
    name: 'glmquota_leases_lost_total',
    help: 'Leases that Redis no longer held when the sidecar beat.',
  });
  const dropped = counter(registry, {
    name: 'glmquota_settlements_dropped_total',
    help: 'Settlements given up because too many could not be delivered; their reservations stay charged.',
  });
  const waitSeconds = histogram(registry, {
    name: 'glmquota_wait_seconds',
    help: 'How long calls waited that were not decided at once, by how the wait ended.',
    labels: { ended: WAIT_ENDS },
    buckets: CALL_BUCKETS,
  });
  const retries = counter(registry, {
    name: 'glmquota_retries_total',
    help: 'Calls sent again after the vendor refused them, by the class of its error.',
    labels: { class: RETRIED },
  });
  const outages = counter(registry, {
    name: 'glmquota_store_outages_total',
    help: 'Times Redis was away for longer than a moment, by the policy that was in force.',
    labels: { policy: OUTAGE_POLICIES },
  });
  const localGrants = counter(registry, {
    name: 'glmquota_local_grants_total',
    help: 'Calls started without Redis, by the policy that let them.',
    labels: { policy: ['LocalShare', 'Open'] },
  });
  return {
    call(ended, durationMs) {
      calls.inc({ ended });
      callSeconds.observe(durationMs / 1000);
    },
    verdict: (verdict) => verdicts.inc({ verdict }),
    tokens(usage, source) {
      tokens.inc({ kind: 'input', source }, usage.inputTokens);
      tokens.inc({ kind: 'cached', source }, usage.cachedTokens);
      tokens.inc({ kind: 'output', source }, usage.outputTokens);
    },
    firstByte: (afterMs) => firstByteSeconds.observe(afterMs / 1000),
    engineCall: (call, durationMs) => engineSeconds.observe({ call }, durationMs / 1000),
    engineError: (call) => engineErrors.inc({ call }),
    leaseLost: (count) => lost.inc(count),
    settlementDropped: () => dropped.inc(),
    waited: (ended, durationMs) => waitSeconds.observe({ ended }, durationMs / 1000),
    retried: (errorClass) => retries.inc({ class: errorClass }),
    outage: (policy) => outages.inc({ policy }),
    localGrant: (policy) => localGrants.inc({ policy }),
    inFlight: gauge(registry, { name: 'glmquota_calls_in_flight', help: 'Leases held by this sidecar.' }),
    waiting: gauge(registry, { name: 'glmquota_calls_waiting', help: 'Calls that wait to be admitted.' }),
    undelivered: gauge(registry, {
      name: 'glmquota_settlements_undelivered',
      help: 'Settlements and cancellations waiting for Redis to answer.',
    }),
    snapshotGeneration: gauge(registry, {
      name: 'glmquota_snapshot_generation',
      help: 'Generation of the snapshot in force; 0 before the first.',
    }),
  };
}
