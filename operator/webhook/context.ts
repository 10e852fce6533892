/** What the injector knows, read from caches at the moment a pod comes: no call to anybody in the request path. */
import { decideBinding } from '../trees/bindings.ts';
import { VENDOR_ORIGINS } from '../trees/origins.ts';
import type { CompiledWorld } from '../trees/terms.ts';
import type { BindRequest, BindVerdict, InjectContext } from './inject.ts';
import type { NamespaceShape } from './pod-shape.ts';
import type { SidecarSettings } from './sidecar-container.ts';

export interface InjectorCaches {
  /** Null until the caches are synced. */
  world(): CompiledWorld | null;
  namespaces(): ReadonlyMap<string, NamespaceShape>;
}

/** For each namespace in the cache its context; null for one that is not (yet) there, or while nothing is synced. */
export function contextSource(
  caches: InjectorCaches,
  settings: SidecarSettings,
): (namespace: string) => InjectContext | null {
  return (name) => {
    const world = caches.world();
    const namespaces = caches.namespaces();
    const namespace = namespaces.get(name);
    if (world === null || namespace === undefined) return null;
    return {
      namespace,
      settings,
      vendorHosts: vendorHosts(world),
      bind: (request) => bind(world, namespaces, request),
    };
  };
}

/** The vendor's own hosts and those of all accounts: `host` or `host:port`, lower case. */
function vendorHosts(world: CompiledWorld): readonly string[] {
  const accounts = [...world.accounts.values()].flatMap(({ delivery }) => delivery?.origin ?? []);
  return [...new Set([...VENDOR_ORIGINS, ...accounts].map((origin) => new URL(origin).host.toLowerCase()))];
}

function bind(
  world: CompiledWorld,
  namespaces: ReadonlyMap<string, NamespaceShape>,
  request: BindRequest,
): BindVerdict {
  const [namespace = '', name = ''] = request.quota.split('/');
  const labels = new Map([...namespaces].map(([key, value]) => [key, value.labels]));
  const question = { namespace: request.namespace, serviceAccount: request.serviceAccount, quota: { namespace, name } };
  const decision = decideBinding(world, labels, question);
  if (decision.kind === 'refused') return { kind: 'refused', message: decision.message };
  const { delivery } = decision.account;
  if (delivery === null) {
    return {
      kind: 'refused',
      message: `GLMAccount ${decision.account.namespace}/${decision.account.name} cannot serve: ${decision.account.verdict.message}`,
    };
  }
  return { kind: 'bound', billing: delivery.billing };
}
