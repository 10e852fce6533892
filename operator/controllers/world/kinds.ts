/** Where our kinds live in the API, and what is kept of their objects. */
import type { Parsed } from '../../api/v1alpha1/parse.ts';
import { API_VERSION, GROUP, type Resource } from '../../api/v1alpha1/resource.ts';
import type { KubeObject, ResourceType } from '../../runtime/resources.ts';

const VERSION = API_VERSION.slice(GROUP.length + 1);

function ours(plural: string, kind: string, namespaced = true): ResourceType {
  return { group: GROUP, version: VERSION, plural, kind, namespaced };
}

export const GLM_ACCOUNTS = ours('glmaccounts', 'GLMAccount');
export const GLM_QUOTAS = ours('glmquotas', 'GLMQuota');
export const GLM_CATALOGS = ours('glmcatalogs', 'GLMCatalog', false);
export const AGENT_POOLS = ours('agentpools', 'AgentPool');

export const NAMESPACES: ResourceType = {
  group: '',
  version: 'v1',
  plural: 'namespaces',
  kind: 'Namespace',
  namespaced: false,
};

export const SECRETS: ResourceType = { group: '', version: 'v1', plural: 'secrets', kind: 'Secret', namespaced: true };

export const PODS: ResourceType = { group: '', version: 'v1', plural: 'pods', kind: 'Pod', namespaced: true };

export const DEPLOYMENTS: ResourceType = {
  group: 'apps',
  version: 'v1',
  plural: 'deployments',
  kind: 'Deployment',
  namespaced: true,
};

/** One of our objects: its parsed spec (or why it does not parse) and its status as it was last seen. */
export interface Observed<T> {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly generation: number;
  readonly resourceVersion: string;
  readonly annotations: Readonly<Record<string, string>>;
  /** RFC 3339. */
  readonly createdAt: string | null;
  readonly parsed: Parsed<T>;
  readonly status: unknown;
}

/** A projection for stores of one of our kinds. */
export function observe<Spec>(
  parse: (input: unknown) => Parsed<Resource<Spec>>,
): (object: KubeObject) => Observed<Resource<Spec>> {
  return (object) => ({
    namespace: object.metadata.namespace ?? '',
    name: object.metadata.name,
    uid: object.metadata.uid,
    generation: object.metadata.generation ?? 0,
    resourceVersion: object.metadata.resourceVersion,
    annotations: object.metadata.annotations ?? {},
    createdAt: object.metadata.creationTimestamp ?? null,
    parsed: parse(object),
    status: object['status'],
  });
}
