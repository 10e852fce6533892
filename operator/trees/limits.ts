/** Limits as specs state them → limits as the engine counts them: percentages, shared windows, inheritance (rule N3). */
import { amountIn } from '../api/v1alpha1/amounts.ts';
import type { AmountSpec } from '../api/v1alpha1/amounts.ts';
import type { LimitSpec } from '../api/v1alpha1/limits.ts';
import { describeProblems } from '../api/v1alpha1/parse.ts';
import type { LimitConfig, NodeName, Resource, Window } from '../../sidecar/engine/tree-terms.ts';
import type { Moment } from './moment.ts';
import { describeWindow, sameWindow } from './windows.ts';

/** The limit of one name that holds where it is looked at. */
interface Inherited {
  /** Of the nearest node that has a limit of this name: percentages are of its amount. */
  readonly nearest: LimitConfig;
  readonly nearestNode: NodeName;
  /** The node whose window it is: the topmost with this name. */
  readonly owner: NodeName;
  /** The smallest amount on the path, and whose it is. */
  readonly tightest: number;
  readonly tightestNode: NodeName;
}

/** By limit name. */
export type Inheritance = ReadonlyMap<string, Inherited>;

export type ResolvedLimits =
  | { readonly ok: true; readonly limits: readonly LimitConfig[] }
  | { readonly ok: false; readonly message: string };

/** `amount` × `percent` / 100, rounded down, exactly. */
function percentOf(amount: number, percent: number): number {
  return Number((BigInt(amount) * BigInt(percent)) / 100n);
}

/** Resolves a node's limits under what it inherits; all problems in one message. Sorted by name. */
export function resolveLimits(specs: readonly LimitSpec[], inherited: Inheritance, moment: Moment): ResolvedLimits {
  const problems: string[] = [];
  const limits = specs.flatMap((spec) => {
    const resolved = resolveLimit(spec, inherited.get(spec.name), moment);
    if (typeof resolved !== 'string') return [resolved];
    problems.push(`spec.limits[${spec.name}]: ${resolved}`);
    return [];
  });
  if (problems.length > 0) return { ok: false, message: problems.join('; ') };
  return { ok: true, limits: limits.toSorted((a, b) => (a.name < b.name ? -1 : 1)) };
}

function resolveLimit(spec: LimitSpec, above: Inherited | undefined, moment: Moment): LimitConfig | string {
  const resource = spec.resource ?? above?.nearest.resource;
  const window = spec.window === null ? above?.nearest.window : moment.window(spec.window);
  if (resource === undefined || window === undefined)
    return 'nothing above has a limit of that name; write resource and window';
  if (above) {
    const clash = clashWith(above, resource, window);
    if (clash !== null) return clash;
  }
  const amount = resolveAmount(spec.amount, resource, above);
  if (typeof amount === 'string') return amount;
  const limit = { name: spec.name, resource, amount, window };
  const owned = above ? { ...limit, windowOwner: above.owner } : limit;
  return spec.guaranteed === null ? owned : guarantee(owned, spec.guaranteed, above);
}

function guarantee(limit: LimitConfig, spec: AmountSpec, above: Inherited | undefined): LimitConfig | string {
  if (!above)
    return 'guaranteed keeps a part of the limit of this name above free, and there is none; remove guaranteed';
  if (limit.window.type === 'Sliding') return 'guaranteed is not for Sliding windows; remove it';
  const guaranteed = resolveAmount(spec, limit.resource, above);
  if (typeof guaranteed === 'string') return guaranteed;
  if (guaranteed <= limit.amount) return { ...limit, guaranteed };
  return 'guaranteed is more than amount, and could never be used; raise amount or lower guaranteed';
}

function clashWith(above: Inherited, resource: Resource, window: Window): string | null {
  const { nearest, nearestNode } = above;
  if (nearest.resource !== resource)
    return `${nearestNode} counts ${nearest.resource} under this name, not ${resource}; leave resource out or choose another name`;
  if (!sameWindow(nearest.window, window))
    return `${nearestNode} has the window ${describeWindow(nearest.window)} under this name, not ${describeWindow(window)}; leave window out or choose another name`;
  return null;
}

function resolveAmount(spec: AmountSpec, resource: Resource, above: Inherited | undefined): number | string {
  if (spec.kind === 'Percent') {
    if (!above) return `${spec.percent}% of nothing: no limit of that name above; write an absolute amount`;
    return percentOf(above.nearest.amount, spec.percent);
  }
  const parsed = amountIn(resource, spec.text, 'amount');
  return parsed.ok ? parsed.value : describeProblems(parsed.problems);
}

/** What holds below a node with these limits. */
export function inheritFrom(node: NodeName, limits: readonly LimitConfig[], inherited: Inheritance): Inheritance {
  if (limits.length === 0) return inherited;
  const below = new Map(inherited);
  for (const limit of limits) {
    const above = inherited.get(limit.name);
    const tighter = !above || limit.amount <= above.tightest;
    below.set(limit.name, {
      nearest: limit,
      nearestNode: node,
      owner: limit.windowOwner ?? node,
      tightest: tighter ? limit.amount : above.tightest,
      tightestNode: tighter ? node : above.tightestNode,
    });
  }
  return below;
}

/**
 * Last good limits under what holds above them today: amounts stay, calendar boundaries are brought up to date, and a
 * window that the node above no longer has in that form becomes the node's own, with nothing above to keep a part of.
 */
export function keepLimits(limits: readonly LimitConfig[], inherited: Inheritance, moment: Moment): LimitConfig[] {
  return limits.map(({ name, resource, amount, window, guaranteed }) => {
    const kept = { name, resource, amount, window: moment.window(window) };
    const above = inherited.get(name);
    const shared = above?.nearest.resource === kept.resource && sameWindow(above.nearest.window, kept.window);
    if (!shared || !above) return kept;
    return { ...kept, windowOwner: above.owner, ...(guaranteed === undefined ? {} : { guaranteed }) };
  });
}
