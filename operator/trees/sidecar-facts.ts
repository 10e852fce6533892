/** What a pod's spec says of its sidecar. Nobody can change it while the pod runs. */

/** As the injector names and fills them (a test holds the two equal). */
export const SIDECAR_NAME = 'glmquota-sidecar';
export const BINDING_VARIABLE = 'GLMQUOTA_BINDING';
const PER_AGENT_VARIABLE = 'GLMQUOTA_PER_AGENT_CONCURRENCY';

export interface SidecarFacts {
  readonly image: string;
  /** `namespace/name` of the GLMQuota, from the container's environment, which nobody can change; null: malformed. */
  readonly binding: string | null;
  /** Calls the pod may have in flight; null: no limit of its own. */
  readonly perAgentConcurrency: number | null;
}

export interface ContainerShape {
  readonly name?: unknown;
  readonly image?: unknown;
  readonly restartPolicy?: unknown;
  readonly env?: readonly { readonly name?: unknown; readonly value?: unknown; readonly valueFrom?: unknown }[];
}

/** Null: none of the pod's init containers is a native sidecar of our name. */
export function readSidecar(containers: readonly ContainerShape[]): SidecarFacts | null {
  const found = containers.find(({ name }) => name === SIDECAR_NAME);
  if (!found || found.restartPolicy !== 'Always' || typeof found.image !== 'string') return null;
  const binding = literal(found, BINDING_VARIABLE);
  const perAgent = Number(literal(found, PER_AGENT_VARIABLE) ?? 0);
  return {
    image: found.image,
    binding: binding !== null && /^[^/]+\/[^/]+$/.test(binding) ? binding : null,
    perAgentConcurrency: Number.isSafeInteger(perAgent) && perAgent > 0 ? perAgent : null,
  };
}

/** A value that stands in the pod itself, once: others could come from somewhere that changes, or hide one another. */
function literal(container: ContainerShape, variable: string): string | null {
  const entries = (container.env ?? []).filter(({ name }) => name === variable);
  const [entry] = entries;
  if (entries.length !== 1 || entry?.valueFrom !== undefined || typeof entry?.value !== 'string') return null;
  return entry.value;
}
