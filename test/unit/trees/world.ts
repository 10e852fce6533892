/** Small objects for tests of trees: everything a spec leaves out is as a user would leave it out. */
import { parseGlmAccount, type GlmAccount } from '#operator/api/v1alpha1/glmaccount.ts';
import { parseGlmQuota, type GlmQuota } from '#operator/api/v1alpha1/glmquota.ts';
import type { Parsed } from '#operator/api/v1alpha1/parse.ts';
import { createCalendar } from '#operator/trees/calendar.ts';
import type { CredentialReading } from '#operator/trees/credentials.ts';
import type { CompiledWorld, CompileInput } from '#operator/trees/terms.ts';
import type { Catalog } from '#sidecar/catalog/terms.ts';
import type { NodeConfig, TreeConfig, TreeKey } from '#sidecar/engine/tree-terms.ts';

export const HOUR_MS = 3_600_000;
const NOW_MS = Date.parse('2026-11-21T10:00:00Z');

export const catalog: Catalog = {
  models: [
    { name: 'glm-5.3', aliases: ['glm-5.2'], suffixes: ['[1m]'] },
    { name: 'glm-5.3-flash', aliases: [], suffixes: [] },
  ],
  prices: [
    {
      model: 'glm-5.3',
      currency: 'USD',
      tiers: [{ upToInputTokens: null, inputNano: 1, cachedNano: 1, outputNano: 1 }],
    },
    {
      model: 'glm-5.3',
      currency: 'CNY',
      tiers: [{ upToInputTokens: null, inputNano: 7, cachedNano: 7, outputNano: 7 }],
    },
  ],
  credits: [],
  plans: [
    {
      name: 'Max',
      generation: 'Credits',
      unit: 'Credits',
      limits: [
        { name: 'five-hour', amount: 28_000_000_000, durationMs: 5 * HOUR_MS },
        { name: 'weekly', amount: 140_000_000_000, durationMs: 168 * HOUR_MS },
      ],
    },
    {
      name: 'Lite',
      generation: 'Prompts',
      unit: 'Prompts',
      limits: [{ name: 'five-hour', amount: 120, durationMs: 5 * HOUR_MS }],
    },
  ],
  schedule: {
    timeZone: 'Asia/Shanghai',
    peak: [],
    peakFactorPpm: 1_000_000,
    offPeakFactorPpm: 500_000,
    promotions: [],
  },
  errors: [],
};

function value<T>(parsed: Parsed<T>): T {
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems));
  return parsed.value;
}

type Spec = Record<string, unknown>;

export function account(name: string, spec: Spec = {}, metadata: Spec = {}): GlmAccount {
  const object = {
    apiVersion: 'glmquota.io/v1alpha1',
    kind: 'GLMAccount',
    metadata: { name, namespace: 'glm', uid: `uid-${name}`, ...metadata },
    spec: { billing: 'CodingPlan', region: 'International', credentialSecretRef: { name: `${name}-key` }, ...spec },
  };
  return value(parseGlmAccount(object));
}

/** `id` is `namespace/name`. */
export function quota(id: string, spec: Spec): GlmQuota {
  const [namespace, name] = id.split('/');
  return value(
    parseGlmQuota({ apiVersion: 'glmquota.io/v1alpha1', kind: 'GLMQuota', metadata: { name, namespace }, spec }),
  );
}

/** A world of these objects; each account finds a key of its own in its Secret. */
export function world(parts: Partial<CompileInput>): CompileInput {
  const accounts = parts.accounts ?? [];
  const credentials = accounts.map((each): [string, CredentialReading] => [
    `${each.metadata.namespace}/${each.spec.credentialSecretRef.name}`,
    { ok: true, keyHash: `hash of ${each.metadata.name}`, origin: null },
  ]);
  return {
    accounts,
    quotas: [],
    invalid: [],
    catalogs: new Map([['default', catalog]]),
    credentials: new Map(credentials),
    namespaces: new Map(),
    allowedOrigins: [],
    previous: new Map(),
    calendar: createCalendar(),
    nowMs: NOW_MS,
    operatorNamespace: 'glmquota',
    ...parts,
  };
}

/** What a compiled world leaves in force, for the next compilation. */
export function inForce(compiled: CompiledWorld): ReadonlyMap<TreeKey, TreeConfig> {
  return new Map(
    [...compiled.accounts.values()].flatMap(({ treeKey, tree }) => (tree ? [[treeKey, tree] as const] : [])),
  );
}

export function nodeOf(compiled: CompiledWorld, accountId: string, name: string): NodeConfig | undefined {
  return compiled.accounts.get(accountId)?.tree?.nodes.find((node) => node.name === name);
}

export function nodeNames(compiled: CompiledWorld, accountId: string): readonly string[] {
  return compiled.accounts.get(accountId)?.tree?.nodes.map(({ name }) => name) ?? [];
}
