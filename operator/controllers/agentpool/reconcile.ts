/** Makes each pool's Deployment and tells how it is. */
import { isDeepStrictEqual } from 'node:util';
import type { AgentPool } from '../../api/v1alpha1/agentpool.ts';
import { describeProblems } from '../../api/v1alpha1/parse.ts';
import type { PoolStatus } from '../../api/v1alpha1/status.ts';
import type { KubeClient } from '../../runtime/client.ts';
import { readConditions } from '../../runtime/conditions.ts';
import { DONE, type Outcome } from '../../runtime/controller.ts';
import type { KubeObject } from '../../runtime/resources.ts';
import { decideBinding } from '../../trees/bindings.ts';
import type { NamespaceLabels } from '../../trees/terms.ts';
import { AppError } from '../../../sidecar/base/errors.ts';
import type { Clock } from '../../../sidecar/base/clock.ts';
import type { StatusWriter, WriteDecision } from '../status/writer.ts';
import { DEPLOYMENTS, type Observed } from '../world/kinds.ts';
import type { World } from '../world/world.ts';
import {
  bindingFault,
  type DeploymentFacts,
  planDeployment,
  planPoolStatus,
  type PoolFault,
  quotaOf,
  serviceAccountOf,
} from './plan.ts';

const FIELD_MANAGER = 'glmquota-agentpool';
/** What was refused may be let through later, by a changed policy or a quota with room. */
const REFUSED_MS = 30_000;

/** What is kept of a Deployment. */
export interface ObservedDeployment extends DeploymentFacts {
  readonly uid: string;
  readonly generation: number;
  /** Uid of the controlling owner; null: nobody's. */
  readonly owner: string | null;
  /** As its spec asks. */
  readonly wantedReplicas: number;
}

export function observeDeployment(object: KubeObject): ObservedDeployment {
  const status = (object['status'] ?? {}) as Readonly<Record<string, unknown>>;
  const spec = (object['spec'] ?? {}) as Readonly<Record<string, unknown>>;
  const count = (value: unknown): number => (typeof value === 'number' ? value : 0);
  const generation = object.metadata.generation ?? 0;
  return {
    uid: object.metadata.uid,
    generation,
    owner: object.metadata.ownerReferences?.find(({ controller }) => controller === true)?.uid ?? null,
    wantedReplicas: count(spec['replicas']),
    replicas: count(status['replicas']),
    readyReplicas: count(status['readyReplicas']),
    isObserved: count(status['observedGeneration']) >= generation,
  };
}

export interface PoolOptions {
  readonly client: Pick<KubeClient, 'get' | 'apply' | 'patch'>;
  readonly world: Pick<World, 'current'>;
  readonly pools: { get(key: string): Observed<AgentPool> | undefined };
  /** Those with the pools' label. */
  readonly deployments: { get(key: string): ObservedDeployment | undefined };
  readonly namespaces: () => ReadonlyMap<string, NamespaceLabels>;
  readonly writer: StatusWriter<PoolStatus>;
  readonly clock: Clock;
}

interface Applied {
  readonly intent: unknown;
  readonly generation: number;
  readonly deployment: ObservedDeployment;
}

export class PoolReconciler {
  readonly #options: PoolOptions;
  /** By pool uid: what was applied last, so that an unchanged pool costs no call. */
  readonly #applied = new Map<string, Applied>();

  constructor(options: PoolOptions) {
    this.#options = options;
  }

  /** Somebody deleted the Deployment of the pool with this uid: it is to be made again. */
  deploymentGone(owner: string): void {
    this.#applied.delete(owner);
  }

  /** `id`: the pool as `namespace/name`. */
  async reconcile(id: string, signal: AbortSignal): Promise<Outcome> {
    const pool = this.#options.pools.get(id);
    // Its Deployment is the garbage collector's.
    if (pool === undefined) return DONE;
    if (!pool.parsed.ok) {
      const fault: PoolFault = { reason: 'InvalidTemplate', message: describeProblems(pool.parsed.problems) };
      return this.#tell(pool, this.#options.deployments.get(id) ?? null, fault, signal);
    }
    const { current } = this.#options.world;
    // The first compilation brings every pool back.
    if (current === null) return DONE;
    const bound = decideBinding(current, this.#options.namespaces(), {
      namespace: pool.namespace,
      serviceAccount: serviceAccountOf(pool.parsed.value),
      quota: quotaOf(pool.parsed.value),
    });
    const fault = bindingFault(bound);
    const existing = this.#options.deployments.get(id) ?? null;
    // Pods that would be refused are not asked for.
    if (fault !== null && existing === null) return this.#tell(pool, null, fault, signal);
    try {
      const deployment =
        fault !== null && existing !== null
          ? await this.#scale(pool, pool.parsed.value, existing, signal)
          : await this.#apply(id, pool, pool.parsed.value, signal);
      return await this.#tell(pool, deployment, fault, signal);
    } catch (reason) {
      const refusal = refusalOf(AppError.from(reason));
      if (refusal === null) throw reason;
      await this.#tell(pool, existing, refusal, signal);
      return { kind: 'again', afterMs: REFUSED_MS };
    }
  }

  async #apply(
    id: string,
    { uid }: Observed<AgentPool>,
    pool: AgentPool,
    signal: AbortSignal,
  ): Promise<ObservedDeployment> {
    const { client, deployments } = this.#options;
    const intent = planDeployment(pool);
    const cached = deployments.get(id);
    const last = this.#applied.get(uid);
    const isSame = last !== undefined && isDeepStrictEqual(last.intent, intent);
    // The cache may lag behind our own write, never be ahead of it unless somebody else wrote.
    if (isSame && (cached === undefined || cached.generation <= last.generation)) return cached ?? last.deployment;
    if (cached === undefined) await this.#refuseForeign(pool, signal);
    else if (cached.owner !== uid) throw foreignDeployment(pool);
    const answer = await client.apply(DEPLOYMENTS, intent, { fieldManager: FIELD_MANAGER, force: true, signal });
    const deployment = observeDeployment(answer);
    this.#applied.set(uid, { intent, generation: deployment.generation, deployment });
    return deployment;
  }

  /** A new template would be rolled out into pods that the injector refuses; the size is the pool's all the same. */
  async #scale(
    { uid }: Observed<AgentPool>,
    pool: AgentPool,
    existing: ObservedDeployment,
    signal: AbortSignal,
  ): Promise<ObservedDeployment> {
    if (existing.owner !== uid) throw foreignDeployment(pool);
    const { replicas } = pool.spec;
    if (existing.wantedReplicas === replicas) return existing;
    // What was applied last is no longer what stands there.
    this.#applied.delete(uid);
    const { name, namespace } = pool.metadata;
    const key = { name, namespace: namespace ?? '' };
    const patch = { metadata: { uid: existing.uid }, spec: { replicas } };
    const options = { fieldManager: FIELD_MANAGER, signal };
    const answer = await this.#options.client.patch(DEPLOYMENTS, key, { kind: 'merge', patch }, options);
    return observeDeployment(answer);
  }

  /** A Deployment of that name without our label is somebody's: applying would take it over. */
  async #refuseForeign(pool: AgentPool, signal: AbortSignal): Promise<void> {
    const { name, namespace, uid } = pool.metadata;
    const found = await this.#options.client.get(DEPLOYMENTS, { name, namespace: namespace ?? '' }, { signal });
    if (found !== null && observeDeployment(found).owner !== uid) throw foreignDeployment(pool);
  }

  async #tell(
    pool: Observed<AgentPool>,
    deployment: DeploymentFacts | null,
    fault: PoolFault | null,
    signal: AbortSignal,
  ): Promise<Outcome> {
    const { writer, clock } = this.#options;
    const { name, generation } = pool;
    const conditions = readConditions(writer.current(pool).status);
    const wantedReplicas = pool.parsed.ok ? pool.parsed.value.spec.replicas : null;
    const facts = { name, generation, wantedReplicas, deployment, fault, conditions };
    return writer.write(pool, planPoolStatus(facts, clock.nowMs()), signal);
  }
}

const FOREIGN = 'ForeignDeployment';

function foreignDeployment({ metadata }: AgentPool): AppError {
  const message = `there is a Deployment ${metadata.namespace ?? ''}/${metadata.name} that is not this pool's; rename one of them`;
  return new AppError('invalid', message, { fields: { reason: FOREIGN } });
}

/**
 * What the API server answered to a Deployment it will not have; null: it did not get to see it. A field that is none
 * is answered with 500 by server-side apply, so that belongs here too.
 */
function refusalOf(error: AppError): PoolFault | null {
  const { code, message, fields } = error;
  if (code === 'invalid' && fields['reason'] !== FOREIGN) return { reason: 'InvalidTemplate', message };
  const isRefused = code === 'invalid' || code === 'forbidden' || fields['status'] === 500;
  return isRefused ? { reason: 'ApplyFailed', message } : null;
}

/** Pods come and go by people's hands: every difference is worth a write. */
export function decidePoolWrite(written: unknown, wanted: PoolStatus): WriteDecision {
  return isDeepStrictEqual(written, wanted) ? { kind: 'none' } : { kind: 'now' };
}
