/** What to run for the objects of the files, or what keeps it from running. Pure. */
import { DEFAULT_CATALOG, type GlmCatalog } from '../api/v1alpha1/glmcatalog.ts';
import type { Catalog } from '../../sidecar/catalog/terms.ts';
import type { Calendar } from '../trees/calendar.ts';
import { catalogOf, mergeCatalogs } from '../trees/catalog.ts';
import { compileTrees } from '../trees/compile.ts';
import { readCredential, readCredentialFacts, type Credential } from '../trees/credentials.ts';
import { objectId, type ObjectKey } from '../trees/names.ts';
import type { CompiledAccount, CompiledQuota, CompiledWorld } from '../trees/terms.ts';
import type { TreeConfig } from '../../sidecar/engine/tree-terms.ts';
import type { LocalObjects } from './documents.ts';

export interface LocalPlan {
  readonly quota: CompiledQuota;
  readonly account: CompiledAccount;
  readonly tree: TreeConfig;
  readonly catalog: Catalog;
  readonly credential: Credential;
  /** Objects that are not in force, and the chosen quota when it is held. */
  readonly warnings: readonly string[];
}

export type LocalDecision =
  | { readonly ok: true; readonly plan: LocalPlan }
  | { readonly ok: false; readonly problems: readonly string[] };

export interface PlanInput {
  readonly objects: LocalObjects;
  /** Used as `default` when the files have none of that name. */
  readonly shipped: GlmCatalog;
  readonly quota: ObjectKey | null;
  readonly calendar: Calendar;
  readonly nowMs: number;
}

/** Chooses the quota to run for. */
export function planLocal(input: PlanInput): LocalDecision {
  const compiled = compileLocal(input);
  if (!compiled.ok) return compiled;
  const { world, catalogs } = compiled;
  const chosen = choose(world, input.quota);
  if (typeof chosen === 'string') return { ok: false, problems: [chosen] };
  return decide(world, chosen, { catalogs, objects: input.objects });
}

export type LocalCompilation =
  | { readonly ok: true; readonly world: CompiledWorld; readonly catalogs: ReadonlyMap<string, Catalog> }
  | { readonly ok: false; readonly problems: readonly string[] };

/**
 * Compiles the objects as the operator does. Grants between quotas hold as on a cluster; who may bind is not asked, since
 * whoever runs this can read the key. Every origin the Secrets name is allowed.
 */
export function compileLocal({ objects, shipped, calendar, nowMs }: Omit<PlanInput, 'quota'>): LocalCompilation {
  if (objects.problems.length > 0) return { ok: false, problems: objects.problems };
  const { catalogs, problems } = usableCatalogs(objects.catalogs, shipped);
  if (problems.length > 0) return { ok: false, problems };
  const world = compileTrees({
    accounts: objects.accounts,
    quotas: objects.quotas,
    invalid: [],
    catalogs,
    credentials: new Map([...objects.secrets].map(([id, secret]) => [id, readCredentialFacts(secret)])),
    namespaces: objects.namespaces,
    allowedOrigins: ['*'],
    previous: new Map(),
    calendar,
    nowMs,
    operatorNamespace: null,
  });
  return { ok: true, world, catalogs };
}

function usableCatalogs(
  own: readonly GlmCatalog[],
  shipped: GlmCatalog,
): { readonly catalogs: ReadonlyMap<string, Catalog>; readonly problems: readonly string[] } {
  const base = own.find(({ metadata }) => metadata.name === DEFAULT_CATALOG) ?? shipped;
  if (base.spec.extends !== null)
    return { catalogs: new Map(), problems: [`GLMCatalog ${DEFAULT_CATALOG}: spec.extends: cannot extend itself`] };
  const others = own.filter(({ metadata }) => metadata.name !== DEFAULT_CATALOG);
  const whole = [base, ...others].map(({ metadata, spec }): [string, Catalog] => [
    metadata.name,
    catalogOf(spec.extends === null ? spec : mergeCatalogs(base.spec, spec)),
  ]);
  return { catalogs: new Map(whole), problems: [] };
}

function choose(world: CompiledWorld, asked: ObjectKey | null): CompiledQuota | string {
  const known = [...world.quotas.keys()].join(', ') || 'none';
  if (asked) {
    const found = world.quotas.get(objectId(asked));
    return found ?? `--quota ${objectId(asked)}: the files have no such GLMQuota; they have ${known}`;
  }
  const [only, ...others] = [...world.quotas.values()].filter(({ account, calls }) => account === null || calls);
  if (!only) return 'the files have no GLMQuota; add one with spec.accountRef';
  if (others.length > 0) return `the files have several GLMQuotas; choose one with --quota: ${known}`;
  return only;
}

interface Sources {
  readonly catalogs: ReadonlyMap<string, Catalog>;
  readonly objects: LocalObjects;
}

function decide(world: CompiledWorld, quota: CompiledQuota, { catalogs, objects }: Sources): LocalDecision {
  const account = quota.account === null ? undefined : world.accounts.get(quota.account);
  const reasons = inactive(world);
  if (account && !quota.calls) {
    const message = 'counts calls of other quotas by spec.match; choose one without match';
    return { ok: false, problems: [`GLMQuota ${objectId(quota)}: ${message}`] };
  }
  if (!account?.tree || !account.delivery) return { ok: false, problems: reasons };
  const catalog = catalogs.get(account.delivery.catalog);
  const read = readCredential(objects.secrets.get(objectId(account.delivery.secret)));
  if (!catalog || !read.ok) return { ok: false, problems: reasons };
  const ignored = objects.ignored.map((each) => `${each}: ignored, it means nothing without a cluster`);
  const plan = { quota, account, tree: account.tree, catalog, credential: read.credential };
  return { ok: true, plan: { ...plan, warnings: [...reasons, ...ignored] } };
}

function inactive(world: CompiledWorld): readonly string[] {
  const describe = (kind: string, objects: ReadonlyMap<string, CompiledAccount | CompiledQuota>): string[] =>
    [...objects].flatMap(([id, { verdict }]) =>
      verdict.active ? [] : [`${kind} ${id}: ${verdict.reason}: ${verdict.message}`],
    );
  return [...describe('GLMAccount', world.accounts), ...describe('GLMQuota', world.quotas)];
}
