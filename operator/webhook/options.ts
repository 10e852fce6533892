/** What a pod's and its namespace's annotations ask of the injector. */
import { ANNOTATION_CONCURRENCY, ANNOTATION_QUOTA } from '../api/v1alpha1/labels.ts';
import type { NamespaceShape, Pod } from './pod-shape.ts';

export const ANNOTATION_CONTAINERS = 'glmquota.io/containers';
export const ANNOTATION_ENV = 'glmquota.io/env';

export interface Options {
  readonly quota: string;
  readonly containers: ReadonlySet<string> | null;
  readonly overrideEnv: boolean;
  readonly perAgentConcurrency: number | null;
}

/** Of the pod's annotation, else the namespace's; `name` alone means the pod's own namespace. */
function quotaReference(pod: Pod, namespace: NamespaceShape): string | null {
  const text = pod.metadata?.annotations?.[ANNOTATION_QUOTA] ?? namespace.annotations[ANNOTATION_QUOTA];
  if (text === undefined || text === '') return null;
  return text.includes('/') ? text : `${namespace.name}/${text}`;
}

/** The options, or what is wrong with them and what to write instead. */
export function readOptions(pod: Pod, namespace: NamespaceShape): Options | string {
  const annotations = pod.metadata?.annotations ?? {};
  const quota = quotaReference(pod, namespace);
  if (quota === null) {
    return `annotation ${ANNOTATION_QUOTA} is missing; add ${ANNOTATION_QUOTA}: <namespace>/<GLMQuota name> to the pod template or the namespace`;
  }
  const env = annotations[ANNOTATION_ENV] ?? 'Keep';
  const named = annotations[ANNOTATION_CONTAINERS]?.split(',').map((name) => name.trim()) ?? null;
  const concurrency = annotations[ANNOTATION_CONCURRENCY] ?? null;
  const wrong = problems(pod, { quota, env, named, concurrency }).find((problem) => problem !== null);
  if (wrong !== undefined) return wrong;
  return {
    quota,
    containers: named === null ? null : new Set(named),
    overrideEnv: env === 'Override',
    perAgentConcurrency: concurrency === null ? null : Number(concurrency),
  };
}

function unknownContainer(pod: Pod, named: readonly string[] | null): string | null {
  const present = new Set((pod.spec?.containers ?? []).map(({ name }) => name));
  const unknown = (named ?? []).find((name) => !present.has(name));
  return unknown === undefined
    ? null
    : `annotation ${ANNOTATION_CONTAINERS} names "${unknown}", which is no container of the pod`;
}

interface Raw {
  readonly quota: string;
  readonly env: string;
  readonly named: readonly string[] | null;
  readonly concurrency: string | null;
}

function problems(pod: Pod, { quota, env, named, concurrency }: Raw): readonly (string | null)[] {
  return [
    /^[a-z0-9.-]{1,63}\/[a-z0-9.-]{1,253}$/.test(quota)
      ? null
      : `annotation ${ANNOTATION_QUOTA} must read [namespace/]name`,
    env === 'Keep' || env === 'Override' ? null : `annotation ${ANNOTATION_ENV} must be Keep or Override`,
    unknownContainer(pod, named),
    concurrency === null || /^[1-9][0-9]{0,3}$/.test(concurrency)
      ? null
      : `annotation ${ANNOTATION_CONCURRENCY} must be a whole number from 1 to 9999`,
  ];
}
