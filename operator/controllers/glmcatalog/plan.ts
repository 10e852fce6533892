/** What to do about the catalog `default`, and what a catalog's status says: pure. */
import { CONTENT_VERSION_ANNOTATION, DEFAULT_CATALOG, type GlmCatalog } from '../../api/v1alpha1/glmcatalog.ts';
import { describeProblems } from '../../api/v1alpha1/parse.ts';
import { type Condition, type ConditionState, nextConditions, readConditions } from '../../runtime/conditions.ts';
import type { Observed } from '../world/kinds.ts';

/** `"false"`: people own the catalog `default`; the operator leaves it alone. */
export const MANAGED_ANNOTATION = 'glmquota.io/managed';

/** Whether the shipped content has to be written over what is there. `written`: by this process, of that generation. */
export function isApplyDue(
  live: Pick<Observed<GlmCatalog>, 'annotations' | 'generation'> | undefined,
  contentVersion: string,
  writtenGeneration: number | null,
): boolean {
  if (live === undefined) return true;
  if (live.annotations[MANAGED_ANNOTATION] === 'false') return false;
  return live.annotations[CONTENT_VERSION_ANNOTATION] !== contentVersion || live.generation !== writtenGeneration;
}

export interface CatalogStatus {
  readonly observedGeneration: number;
  readonly contentVersion?: string;
  readonly conditions: readonly Condition[];
}

export interface CatalogFacts {
  readonly catalog: Observed<GlmCatalog>;
  /** Whether the default catalog can be extended. */
  readonly isBaseUsable: boolean;
  /** The status that stands in the object. */
  readonly status: unknown;
}

export function planCatalogStatus({ catalog, isBaseUsable, status }: CatalogFacts, nowMs: number): CatalogStatus {
  const { generation } = catalog;
  const contentVersion = catalog.annotations[CONTENT_VERSION_ANNOTATION];
  return {
    observedGeneration: generation,
    ...(contentVersion === undefined ? {} : { contentVersion }),
    conditions: nextConditions(readConditions(status), [readyState(catalog, isBaseUsable)], { generation, nowMs }),
  };
}

function readyState({ parsed }: Observed<GlmCatalog>, isBaseUsable: boolean): ConditionState {
  const state = (ready: boolean, reason: string, message: string): ConditionState => ({
    type: 'Ready',
    status: ready ? 'True' : 'False',
    reason,
    message: message.slice(0, 4096),
  });
  if (!parsed.ok) {
    const message = `${describeProblems(parsed.problems)} (accounts go on with what it said before)`;
    return state(false, 'InvalidCatalog', message);
  }
  if (parsed.value.spec.extends !== null && !isBaseUsable) {
    return state(false, 'BaseNotUsable', `it extends GLMCatalog ${DEFAULT_CATALOG}, which is not there or not valid`);
  }
  return state(true, 'CatalogUsable', 'accounts can name it in spec.catalogRef');
}
