/**
 * Whose calls they are and on what terms they are made. What an operator of an older version does not say means what
 * that version did: nothing waits, nothing is tried again, nothing goes on without Redis.
 */
import type {
  Attributes as WireAttributes,
  Binding,
  Retry,
  StoreFailure,
  Waiting,
} from '../../proto/gen/glmquota/v1/control_pb.ts';
import type { Attributes, WaitPolicy } from '../engine/terms.ts';
import type { PriorityClass } from '../engine/tree-terms.ts';
import { CURRENCIES, DURABILITIES, PRIORITY_CLASSES, STORE_POLICIES, WAIT_MODES } from './enums.ts';
import { integer, known, text, within } from './fields.ts';
import type { RetryPolicy, SidecarSnapshot, StoreFailurePolicy } from './terms.ts';

const MAX_WAIT_MS = 86_400_000;

export function decodeBinding(binding: Binding): SidecarSnapshot['binding'] {
  return {
    treeKey: text(binding.treeKey, /^[a-z2-7]{26}$/, 'binding.tree_key'),
    quota: text(binding.quota, /^[^/]{1,253}\/[^/]{1,253}$/, 'binding.quota'),
    leaf: text(binding.leaf, /^.{1,600}$/, 'binding.leaf'),
    path: binding.path,
    currency: known(CURRENCIES, binding.currency, 'binding.currency'),
    perAgentConcurrency: binding.perAgentConcurrency === 0 ? null : binding.perAgentConcurrency,
    maxRuntimeMs: integer(binding.maxRuntimeMs, 'binding.max_runtime_ms'),
    waiting: decodeWaiting(binding.waiting),
    class: {
      default: decodeClass(binding.defaultClass, 'Normal', 'binding.default_class'),
      max: decodeClass(binding.maxClass, 'High', 'binding.max_class'),
    },
    attributes: decodeAttributes(binding.attributes),
    drained: binding.drained,
    durability: binding.durability === 0 ? 'Async' : known(DURABILITIES, binding.durability, 'binding.durability'),
    onStoreFailure: decodeStoreFailure(binding.onStoreFailure),
    retry: decodeRetry(binding.retry),
  };
}

function decodeWaiting(waiting: Waiting | undefined): WaitPolicy {
  if (waiting === undefined) return { mode: 'Reject', maxWaitMs: 0 };
  const maxWaitMs = integer(waiting.maxWaitMs, 'binding.waiting.max_wait_ms');
  return {
    mode: known(WAIT_MODES, waiting.mode, 'binding.waiting.mode'),
    maxWaitMs: within(maxWaitMs, [0, MAX_WAIT_MS], 'binding.waiting.max_wait_ms'),
  };
}

function decodeClass(value: number, absent: PriorityClass, path: string): PriorityClass {
  return value === 0 ? absent : known(PRIORITY_CLASSES, value, path);
}

function decodeAttributes(wire: WireAttributes | undefined): Attributes {
  const { tool = '', capability = '', source = '', user = '', pool = '', namespace = '' } = wire ?? {};
  const entries = Object.entries({ tool, capability, source, user, pool, namespace });
  return Object.fromEntries(entries.filter(([, value]) => value !== ''));
}

function decodeStoreFailure(failure: StoreFailure | undefined): StoreFailurePolicy {
  if (failure === undefined) return { policy: 'Closed', localSharePercent: 0, maxDurationMs: 0 };
  return {
    policy: known(STORE_POLICIES, failure.policy, 'binding.on_store_failure.policy'),
    localSharePercent: within(failure.localSharePercent, [0, 100], 'binding.on_store_failure.local_share_percent'),
    maxDurationMs: integer(failure.maxDurationMs, 'binding.on_store_failure.max_duration_ms'),
  };
}

function decodeRetry(retry: Retry | undefined): RetryPolicy {
  if (retry === undefined) return { maxAttempts: 1, baseDelayMs: 0, factorPermille: 1000, maxDelayMs: 0 };
  return {
    maxAttempts: within(retry.maxAttempts, [1, 1000], 'binding.retry.max_attempts'),
    baseDelayMs: integer(retry.baseDelayMs, 'binding.retry.base_delay_ms'),
    factorPermille: within(retry.factorPermille, [1000, 1_000_000], 'binding.retry.factor_permille'),
    maxDelayMs: integer(retry.maxDelayMs, 'binding.retry.max_delay_ms'),
  };
}
