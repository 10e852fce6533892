import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, test } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { parseAgentPool } from '#operator/api/v1alpha1/agentpool.ts';
import { parseGlmAccount } from '#operator/api/v1alpha1/glmaccount.ts';
import { parseGlmCatalog } from '#operator/api/v1alpha1/glmcatalog.ts';
import { parseGlmQuota } from '#operator/api/v1alpha1/glmquota.ts';
import type { Parsed } from '#operator/api/v1alpha1/parse.ts';
import {
  ACCOUNT_STATUS_FIELDS,
  CATALOG_STATUS_FIELDS,
  POOL_STATUS_FIELDS,
  QUOTA_STATUS_FIELDS,
} from '#operator/api/v1alpha1/status.ts';

/** CRD YAML is the source of truth; this holds the parsers and the status types of operator/api equal to it. */
const folder = resolve(import.meta.dirname, '../../crds');

const KINDS: Record<string, { file: string; parse: (input: unknown) => Parsed<unknown>; status?: object }> = {
  GLMAccount: { file: 'glmaccounts.yaml', parse: parseGlmAccount, status: ACCOUNT_STATUS_FIELDS },
  GLMQuota: { file: 'glmquotas.yaml', parse: parseGlmQuota, status: QUOTA_STATUS_FIELDS },
  GLMCatalog: { file: 'glmcatalogs.yaml', parse: parseGlmCatalog, status: CATALOG_STATUS_FIELDS },
  AgentPool: { file: 'agentpools.yaml', parse: parseAgentPool, status: POOL_STATUS_FIELDS },
};

interface Schema {
  properties?: Record<string, Schema>;
  items?: Schema;
  additionalProperties?: Schema;
  'x-kubernetes-preserve-unknown-fields'?: boolean;
}
interface Definition {
  spec: { versions: { schema: { openAPIV3Schema: Schema } }[] };
}

const read = (path: string): unknown[] =>
  parseAllDocuments(readFileSync(join(folder, path), 'utf8')).map((document) => document.toJS() as unknown);

/** Dotted paths below a schema; what is under a preserved part or a map is the user's. */
function fieldsOf(schema: Schema, path = ''): string[] {
  if (schema.items) return fieldsOf(schema.items, `${path}[]`);
  if (schema['x-kubernetes-preserve-unknown-fields']) return [];
  return Object.entries(schema.properties ?? {}).flatMap(([key, below]) => {
    const at = path === '' ? key : `${path}.${key}`;
    return [at, ...fieldsOf(below, at)];
  });
}

/** Paths below which anything may stand. */
function openPaths(schema: Schema, path = ''): string[] {
  if (schema.items) return openPaths(schema.items, `${path}[]`);
  if (schema['x-kubernetes-preserve-unknown-fields'] || schema.additionalProperties) return [path];
  return Object.entries(schema.properties ?? {}).flatMap(([key, below]) =>
    openPaths(below, path === '' ? key : `${path}.${key}`),
  );
}

/** A value that notes the path of every field asked for, whether it is there or not. */
function recording(value: unknown, path: string, asked: Set<string>): unknown {
  if (typeof value !== 'object' || value === null) return value;
  return new Proxy(value, {
    getOwnPropertyDescriptor: (target, key) => {
      if (!Array.isArray(target) && typeof key === 'string') asked.add(path === '' ? key : `${path}.${key}`);
      return Reflect.getOwnPropertyDescriptor(target, key);
    },
    get: (target, key) => {
      const got: unknown = Reflect.get(target, key);
      if (typeof key !== 'string' || typeof got === 'function') return got;
      const below = Array.isArray(target) ? `${path}[]` : path === '' ? key : `${path}.${key}`;
      return recording(got, below, asked);
    },
  });
}

const examples = readdirSync(join(folder, 'examples/valid')).flatMap((name) =>
  read(`examples/valid/${name}`).map((object) => ({ name, object: object as { kind: string; spec: unknown } })),
);

describe.each(Object.entries(KINDS))('%s', (kind, { file, parse, status }) => {
  const [definition] = read(file) as [Definition];
  const { spec: specSchema, status: statusSchema } = definition.spec.versions[0]!.schema.openAPIV3Schema.properties!;
  const own = examples.filter(({ object }) => object.kind === kind);

  test.each(own)('example $name is parsed without a problem', ({ object }) => {
    expect(parse(object)).toMatchObject({ ok: true });
  });

  test('the parser reads exactly the fields of the definition’s spec', () => {
    const asked = new Set<string>();
    for (const { object } of own) parse({ ...object, spec: recording(object.spec, '', asked) });
    const open = openPaths(specSchema!);
    const known = [...asked].filter(
      (path) => !open.some((each) => path.startsWith(`${each}.`) || path.startsWith(`${each}[`)),
    );
    expect(known.toSorted()).toEqual(fieldsOf(specSchema!).toSorted());
  });

  test('the definition fits into the annotation of kubectl apply', () => {
    expect(readFileSync(join(folder, file)).length).toBeLessThan(250_000);
  });

  test.runIf(status)('the status type has exactly the fields of the definition’s status', () => {
    expect(Object.keys(status!).toSorted()).toEqual(fieldsOf(statusSchema!).toSorted());
  });
});

test('what the API server refuses by its schema or a rule, the parser refuses too', () => {
  const accepted = readdirSync(join(folder, 'examples/invalid')).filter((name) => {
    const [object] = read(`examples/invalid/${name}`) as { kind: string }[];
    return KINDS[object!.kind]?.parse(object).ok;
  });
  expect(accepted).toEqual([]);
});
