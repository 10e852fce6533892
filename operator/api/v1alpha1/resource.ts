/** What all kinds have in common: group, version, metadata. */
import {
  looseObject,
  mapOf,
  optional,
  parseWith,
  string,
  withDefault,
  integer,
  type Parsed,
  type Parser,
  oneOf,
} from './parse.ts';

export const GROUP = 'glmquota.io';
export const API_VERSION = 'glmquota.io/v1alpha1';

interface ObjectMeta {
  readonly name: string;
  /** Null for cluster-scoped kinds. */
  readonly namespace: string | null;
  /** Null in files. */
  readonly uid: string | null;
  readonly resourceVersion: string | null;
  readonly generation: number;
  readonly creationTimestamp: string | null;
  readonly deletionTimestamp: string | null;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

/** An object of the API whose spec was parsed; status is not kept: controllers own it and write it whole. */
export interface Resource<Spec> {
  readonly apiVersion: typeof API_VERSION;
  readonly kind: string;
  readonly metadata: ObjectMeta;
  readonly spec: Spec;
}

const texts = mapOf(string({ max: 262_144 }), { max: 1000 });

const metadata: Parser<ObjectMeta> = looseObject({
  name: string({ min: 1 }),
  namespace: optional(string({ min: 1, max: 63 })),
  uid: optional(string()),
  resourceVersion: optional(string()),
  generation: withDefault(integer({ min: 0, max: Number.MAX_SAFE_INTEGER }), 0),
  creationTimestamp: optional(string()),
  deletionTimestamp: optional(string()),
  labels: withDefault(texts, {}),
  annotations: withDefault(texts, {}),
});

/** Parses a whole object of `kind`; problems carry paths from the root, such as `spec.plan.name`. */
export function parseResource<Spec>(kind: string, spec: Parser<Spec>, input: unknown): Parsed<Resource<Spec>> {
  const whole: Parser<Resource<Spec>> = looseObject({
    apiVersion: oneOf([API_VERSION]),
    kind: oneOf([kind]),
    metadata,
    spec,
  });
  return parseWith(whole, input);
}
