/** AgentPool: a set of agent pods bound to a quota. */
import { objectRef, type ObjectRef } from './fields.ts';
import {
  boolean,
  checked,
  integer,
  listMap,
  looseObject,
  mapOf,
  object,
  optional,
  string,
  withDefault,
  type Parsed,
  type Parser,
} from './parse.ts';
import { parseResource, type Resource } from './resource.ts';
import { label } from './scalars.ts';

interface PerAgent {
  /** Calls one pod may have in flight at once. */
  readonly concurrency: number;
  /** Memory limit of containers that state none: a Kubernetes quantity. */
  readonly memory: string;
}

/** A pod template; `spec` is a Kubernetes PodSpec passed on as it is. */
interface PodTemplate {
  readonly metadata: {
    readonly labels: Readonly<Record<string, string>>;
    readonly annotations: Readonly<Record<string, string>>;
  };
  readonly spec: Readonly<Record<string, unknown>>;
}

interface AgentPoolSpec {
  readonly quotaRef: ObjectRef;
  readonly template: PodTemplate;
  readonly replicas: number;
  readonly perAgent: PerAgent;
}

export type AgentPool = Resource<AgentPoolSpec>;

const RESERVED = 'glmquota.io/';
/** Annotations by which a pod's author steers the injector; all others of ours are written by the pool. */
const ALLOWED_ANNOTATIONS = ['glmquota.io/containers', 'glmquota.io/env'];

function without(parser: Parser<Readonly<Record<string, string>>>, allowed: readonly string[]) {
  return checked(parser, (map, at) => {
    for (const key of Object.keys(map))
      if (key.startsWith(RESERVED) && !allowed.includes(key)) at.child(key).fail('is set by the pool; remove it');
  });
}

const labels = withDefault(mapOf(string({ max: 63 }), { max: 32 }), {});
const annotations = withDefault(mapOf(string({ max: 65_536 }), { max: 32 }), {});

interface CheckedContainer {
  readonly name: string;
  readonly image: string | null;
}

const container: Parser<CheckedContainer> = looseObject<CheckedContainer>({
  name: label(),
  image: optional(string({ max: 1024 })),
});

interface CheckedPodSpec {
  readonly containers: readonly unknown[];
  readonly hostNetwork: boolean;
  readonly restartPolicy: string;
}

const checkedPodSpec: Parser<CheckedPodSpec> = looseObject<CheckedPodSpec>({
  containers: listMap(container, { min: 1, max: 16, keyOf: ({ name }) => name }),
  hostNetwork: checked(withDefault(boolean(), false), (value, at) => {
    if (value) at.fail("agents cannot use the host's network, where the sidecar's ports would be shared; remove it");
  }),
  restartPolicy: checked(withDefault(string({ max: 32 }), 'Always'), (value, at) => {
    if (value !== 'Always') at.fail('the pods of a pool run for ever; remove it');
  }),
});

/** Checks what must be there and keeps the rest untouched: the API server validates a PodSpec when pods are made. */
const podSpec: Parser<Readonly<Record<string, unknown>>> = (input, at) => {
  const parsed = checkedPodSpec(input, at);
  return typeof parsed === 'symbol' ? parsed : (input as Readonly<Record<string, unknown>>);
};

const template: Parser<PodTemplate> = object<PodTemplate>({
  metadata: withDefault(
    object<PodTemplate['metadata']>({
      labels: without(labels, []),
      annotations: without(annotations, ALLOWED_ANNOTATIONS),
    }),
    { labels: {}, annotations: {} },
  ),
  spec: podSpec,
});

const DEFAULT_CONCURRENCY = 1;
const DEFAULT_MEMORY = '4Gi';

const spec: Parser<AgentPoolSpec> = object<AgentPoolSpec>({
  quotaRef: objectRef,
  template,
  replicas: withDefault(integer({ min: 0, max: 1000 }), 1),
  perAgent: withDefault(
    object<PerAgent>({
      concurrency: withDefault(integer({ min: 1, max: 1000 }), DEFAULT_CONCURRENCY),
      memory: withDefault(
        string({
          min: 1,
          max: 16,
          pattern: /^[1-9][0-9]{0,9}(Ki|Mi|Gi|Ti|k|M|G|T)?$/,
          hint: 'must be a memory quantity such as 512Mi or 4Gi',
        }),
        DEFAULT_MEMORY,
      ),
    }),
    { concurrency: DEFAULT_CONCURRENCY, memory: DEFAULT_MEMORY },
  ),
});

/** Parses an AgentPool object; status is ignored. */
export function parseAgentPool(input: unknown): Parsed<AgentPool> {
  return parseResource('AgentPool', spec, input);
}
