/** A pool's Deployment and status, from facts alone. */
import type { AgentPool } from '../../api/v1alpha1/agentpool.ts';
import { ANNOTATION_CONCURRENCY, ANNOTATION_QUOTA, LABEL_INJECT, LABEL_POOL } from '../../api/v1alpha1/labels.ts';
import type { PoolReason } from '../../api/v1alpha1/reasons.ts';
import { API_VERSION } from '../../api/v1alpha1/resource.ts';
import type { PoolStatus } from '../../api/v1alpha1/status.ts';
import { type Condition, nextConditions } from '../../runtime/conditions.ts';
import type { KubeIntent } from '../../runtime/resources.ts';
import type { BindingDecision } from '../../trees/bindings.ts';
import { poolLabel } from '../../trees/names.ts';

/** For `status.selector`, which /scale shows to autoscalers. */
export function poolSelector(name: string): string {
  return `${LABEL_POOL}=${poolLabel(name)}`;
}

/** The quota a pool is bound to, with its namespace. */
export function quotaOf({ metadata, spec }: AgentPool): { readonly namespace: string; readonly name: string } {
  return { namespace: spec.quotaRef.namespace ?? metadata.namespace ?? '', name: spec.quotaRef.name };
}

export function serviceAccountOf({ spec }: AgentPool): string {
  const named = spec.template.spec['serviceAccountName'];
  return typeof named === 'string' && named !== '' ? named : 'default';
}

/**
 * The Deployment to apply. The template is the author's; ours are the labels and annotations by which the injector
 * finds the pods and binds them, and a memory limit for containers that state none.
 */
export function planDeployment(pool: AgentPool): KubeIntent {
  const { metadata, spec } = pool;
  const namespace = metadata.namespace ?? '';
  const label = { [LABEL_POOL]: poolLabel(metadata.name) };
  const quota = quotaOf(pool);
  const { template, perAgent } = spec;
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: {
      namespace,
      name: metadata.name,
      labels: label,
      ownerReferences: [
        {
          apiVersion: API_VERSION,
          kind: 'AgentPool',
          name: metadata.name,
          uid: metadata.uid ?? '',
          controller: true,
          blockOwnerDeletion: true,
        },
      ],
    },
    spec: {
      replicas: spec.replicas,
      selector: { matchLabels: label },
      template: {
        metadata: {
          labels: { ...template.metadata.labels, ...label, [LABEL_INJECT]: 'true' },
          annotations: {
            ...template.metadata.annotations,
            [ANNOTATION_QUOTA]: `${quota.namespace}/${quota.name}`,
            [ANNOTATION_CONCURRENCY]: String(perAgent.concurrency),
          },
        },
        spec: { ...template.spec, containers: withMemoryLimit(template.spec['containers'], perAgent.memory) },
      },
    },
  };
}

interface ContainerLike {
  readonly resources?: {
    readonly limits?: Readonly<Record<string, unknown>>;
    readonly requests?: Readonly<Record<string, unknown>>;
  };
}

/** Without a request Kubernetes would reserve the whole limit, and agents idle most of the time. */
const RESERVED_MEMORY = '256Mi';

function withMemoryLimit(containers: unknown, memory: string): unknown {
  if (!Array.isArray(containers)) return containers;
  return containers.map((container: ContainerLike) => {
    const { limits, requests } = container.resources ?? {};
    if (limits?.['memory'] !== undefined) return container;
    const isReserved = requests?.['memory'] !== undefined || bytesOf(memory) <= bytesOf(RESERVED_MEMORY);
    const reserved = isReserved ? requests : { ...requests, memory: RESERVED_MEMORY };
    const resources = {
      ...container.resources,
      limits: { ...limits, memory },
      ...(reserved === undefined ? {} : { requests: reserved }),
    };
    return { ...container, resources };
  });
}

const UNITS: Readonly<Record<string, number>> = {
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
};

/** Bytes of a memory quantity of the form that `perAgent.memory` takes. */
function bytesOf(quantity: string): number {
  const unit = quantity.replace(/^\d+/, '');
  return Number.parseInt(quantity, 10) * (UNITS[unit] ?? 1);
}

/** What the API server says of the Deployment; null: there is none. */
export interface DeploymentFacts {
  readonly replicas: number;
  readonly readyReplicas: number;
  /** Whether its controller has seen the latest spec. */
  readonly isObserved: boolean;
}

/** Why a pool cannot be as it asks. */
export interface PoolFault {
  readonly reason: PoolReason;
  readonly message: string;
}

export interface PoolFacts {
  readonly name: string;
  readonly generation: number;
  /** Null for a pool that does not parse. */
  readonly wantedReplicas: number | null;
  readonly deployment: DeploymentFacts | null;
  readonly fault: PoolFault | null;
  readonly conditions: readonly Condition[];
}

export function planPoolStatus(facts: PoolFacts, nowMs: number): PoolStatus {
  const { generation, deployment } = facts;
  const { status, reason, message } = readiness(facts);
  const ready = { type: 'Ready', status, reason, message: message.slice(0, 4096) } as const;
  return {
    observedGeneration: generation,
    conditions: nextConditions(facts.conditions, [ready], { generation, nowMs }),
    replicas: deployment?.replicas ?? 0,
    readyReplicas: deployment?.readyReplicas ?? 0,
    selector: poolSelector(facts.name),
  };
}

function readiness(facts: PoolFacts): { status: 'True' | 'False'; reason: PoolReason; message: string } {
  if (facts.fault !== null) return { status: 'False', ...facts.fault };
  const wanted = facts.wantedReplicas ?? 0;
  const ready = facts.deployment?.readyReplicas ?? 0;
  const isReady = facts.deployment !== null && facts.deployment.isObserved && ready >= wanted;
  return isReady
    ? { status: 'True', reason: 'PodsReady', message: `all ${wanted} pods are ready` }
    : { status: 'False', reason: 'PodsNotReady', message: `${ready} of ${wanted} pods are ready` };
}

/** Null: the pool may use its quota. */
export function bindingFault(decision: BindingDecision): PoolFault | null {
  return decision.kind === 'bound' ? null : { reason: decision.reason, message: decision.message };
}
