/** Which parent each quota names, whether that parent exists and grants it, and whether the way up ends. */
import type { NamespaceGrant } from '../api/v1alpha1/fields.ts';
import type { GlmQuota } from '../api/v1alpha1/glmquota.ts';
import { describeProblems } from '../api/v1alpha1/parse.ts';
import { admits } from './grants.ts';
import { objectId, type ObjectKey } from './names.ts';
import type { Root } from './roots.ts';
import type { CompileInput, Fault } from './terms.ts';

/** A quota as the placement sees it. */
export interface QuotaLink extends ObjectKey {
  readonly id: string;
  /** Null when the stored object does not parse. */
  readonly quota: GlmQuota | null;
  /** The object it hangs under by its own spec. */
  readonly parent: { readonly kind: 'account' | 'quota'; readonly id: string } | null;
  readonly fault: Fault | null;
}

/** All quotas by `namespace/name`, sorted. */
export function linkQuotas(input: CompileInput, roots: ReadonlyMap<string, Root>): ReadonlyMap<string, QuotaLink> {
  const quotas = new Map(input.quotas.map((quota) => [objectId(keyOf(quota)), quota]));
  const invalid = input.invalid.filter((object) => object.kind === 'GLMQuota');
  const unparsed = new Set(invalid.map(objectId));
  const links = [
    ...[...quotas.values()].map((quota) => link(quota, { input, roots, quotas, unparsed })),
    ...invalid.map((object): QuotaLink => {
      const fault: Fault = { reason: 'InvalidLimits', message: describeProblems(object.problems) };
      return { ...keyOnly(object), id: objectId(object), quota: null, parent: null, fault };
    }),
  ];
  const sorted = new Map(links.toSorted((a, b) => (a.id < b.id ? -1 : 1)).map((each) => [each.id, each]));
  return withCycles(sorted);
}

interface Known {
  readonly input: CompileInput;
  readonly roots: ReadonlyMap<string, Root>;
  readonly quotas: ReadonlyMap<string, GlmQuota>;
  readonly unparsed: ReadonlySet<string>;
}

function keyOf(quota: GlmQuota): ObjectKey {
  return { namespace: quota.metadata.namespace ?? '', name: quota.metadata.name };
}

function keyOnly({ namespace, name }: ObjectKey): ObjectKey {
  return { namespace, name };
}

function link(quota: GlmQuota, known: Known): QuotaLink {
  const key = keyOf(quota);
  const { kind, name, namespace } = quota.spec.parent;
  const target = { namespace: namespace ?? key.namespace, name };
  const parent = { kind, id: objectId(target) };
  return { ...key, id: objectId(key), quota, parent, fault: linkFault(key, { kind, ...target }, known) };
}

function linkFault(key: ObjectKey, target: ObjectKey & { kind: 'account' | 'quota' }, known: Known): Fault | null {
  const id = objectId(target);
  const what = target.kind === 'account' ? `GLMAccount ${id}` : `GLMQuota ${id}`;
  const field = target.kind === 'account' ? 'spec.accountRef' : 'spec.parentRef';
  const grant = grantOf(target.kind, id, known);
  if (grant === 'absent')
    return { reason: 'ParentNotFound', message: `there is no ${what}; create it or correct ${field}` };
  if (grant === 'unknown')
    return { reason: 'ParentNotGranted', message: `${what} is not valid, so its grants are not known; mend it first` };
  if (admits(grant, target.namespace, key.namespace, known.input.namespaces)) return null;
  return {
    reason: 'ParentNotGranted',
    message: `${what} does not let quotas of namespace ${key.namespace} hang under it; its owner decides by spec.children (now from: ${grant.from})`,
  };
}

function grantOf(kind: 'account' | 'quota', id: string, known: Known): NamespaceGrant | 'absent' | 'unknown' {
  if (kind === 'account') {
    const root = known.roots.get(id);
    if (!root) return 'absent';
    return root.account?.spec.children ?? 'unknown';
  }
  const quota = known.quotas.get(id);
  if (quota) return quota.spec.children;
  return known.unparsed.has(id) ? 'unknown' : 'absent';
}

/** `namespace/name` of the account at the end of the parents that specs name, if there is such an end. */
export function accountLedTo(start: QuotaLink, links: ReadonlyMap<string, QuotaLink>): string | null {
  const seen = new Set<string>();
  let link: QuotaLink | undefined = start;
  while (link?.parent?.kind === 'quota' && !seen.has(link.id)) {
    seen.add(link.id);
    link = links.get(link.parent.id);
  }
  return link?.parent?.kind === 'account' ? link.parent.id : null;
}

/** Marks the members of every ring of parents; what merely hangs below a ring is left to the placement. */
function withCycles(links: ReadonlyMap<string, QuotaLink>): ReadonlyMap<string, QuotaLink> {
  const ringOf = findRings(links.keys(), (id) => {
    const each = links.get(id);
    return each?.parent?.kind === 'quota' ? each.parent.id : null;
  });
  if (ringOf.size === 0) return links;
  return new Map(
    [...links].map(([id, each]) => {
      const ring = ringOf.get(id);
      return [id, ring ? { ...each, fault: cycleFault(ring) } : each];
    }),
  );
}

export function cycleFault(ring: readonly string[]): Fault {
  const shown = [...ring.slice(0, 8), ...(ring.length > 8 ? ['…'] : []), ring[0] ?? ''].join(' → ');
  return { reason: 'CycleDetected', message: `the parents form a ring: ${shown}; change one spec.parentRef` };
}

/** The members of each ring that following `parentOf` runs into, by member; each ring starts at its smallest member. */
export function findRings<Id extends string>(
  ids: Iterable<Id>,
  parentOf: (id: Id) => Id | null,
): ReadonlyMap<Id, readonly Id[]> {
  const rings = new Map<Id, readonly Id[]>();
  const seen = new Set<Id>();
  for (const start of ids) {
    const walk: Id[] = [];
    const onWalk = new Set<Id>();
    let at: Id | null = start;
    while (at !== null && !seen.has(at)) {
      seen.add(at);
      walk.push(at);
      onWalk.add(at);
      at = parentOf(at);
    }
    if (at === null || !onWalk.has(at)) continue;
    const members = walk.slice(walk.indexOf(at));
    const first = members.indexOf(members.toSorted()[0] ?? at);
    const ring = [...members.slice(first), ...members.slice(0, first)];
    for (const member of ring) rings.set(member, ring);
  }
  return rings;
}
