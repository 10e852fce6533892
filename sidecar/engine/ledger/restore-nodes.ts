/** Node records and leases of a checkpoint → the model's nodes and leases. Pure. */
import { AnchoredWindow, SharedWindow, type Period, type PeriodId } from '../model-anchored.ts';
import type { Adaptive } from '../model-adaptive.ts';
import type { ModelLease } from '../model-leases.ts';
import { CalendarWindow, FixedWindow, SlidingWindow } from '../model-meters.ts';
import type { ModelCharge, ModelNode, ModelWindow, Slot } from '../model-node.ts';
import type { Breaker } from '../model-pace.ts';
import type { ModelTree } from '../model-tree.ts';
import type { Packed } from './msgpack.ts';
import type { ChargeRecord, LeaseRecord, NodeRecord, WindowRecord } from './records.ts';
import { PRIORITY_CLASSES, RESOURCES, type Amounts, type PriorityClass, type Resource } from '../tree-terms.ts';

/** A period by its serial. */
interface Known {
  readonly id: PeriodId;
  /** Fence at which its latest start became known. */
  readonly hf: number;
}

/** By node and window. */
type Periods = Map<string, Map<number, Known>>;

/** A lease as it stands, with the name it is kept under. */
export interface NamedLease {
  readonly id: string;
  readonly record: LeaseRecord;
}

export const classAt = (index: number): PriorityClass => PRIORITY_CLASSES[index - 1] ?? 'Normal';

/** Makes the nodes as they were left, with all slots and reserves of `leases` on them; returns the leases that are no holds. */
export function resumeNodes(
  tree: ModelTree,
  records: readonly (readonly [string, NodeRecord])[],
  leases: readonly NamedLease[],
  expiries: ReadonlyMap<string, number>,
): readonly ModelLease[] {
  const periods: Periods = new Map();
  const windows = records.flatMap(([name, node]) => node.windows.map((window) => ({ name, window })));
  // Owners of windows before those that share them.
  for (const { name, window } of windows.toSorted((a, b) => Number(a.window.t === 'P') - Number(b.window.t === 'P'))) {
    const node = tree.node(name);
    node.windows.set(window.key, resumeWindow(tree, name, window, periods));
    if (window.amount !== null) node.amounts.set(window.key, window.amount);
  }
  for (const [name, record] of records) resumeLearnt(tree.node(name), record);
  return leases.filter(({ record }) => record.h === 0).map((lease) => resumeLease(tree, lease, expiries, periods));
}

function resumeWindow(tree: ModelTree, node: string, record: WindowRecord, periods: Periods): ModelWindow {
  switch (record.t) {
    case 'A': {
      const known = new Map<number, Known>();
      periods.set(placeOf(node, record.key), known);
      const own = record.periods.map(({ s, u, k, v, lo, hi, hf, sf, sl, su, fl }): Period => {
        const id = {};
        known.set(s, { id, hf });
        return {
          id,
          used: u,
          settled: k - v,
          pending: new Set(),
          lo,
          hi,
          soft: sf,
          firstSent: sl,
          floor: fl,
          sure: su,
        };
      });
      return AnchoredWindow.from(record.d, own, { floor: record.f, ended: record.e });
    }
    case 'P':
      return resumeShare(tree, node, record, periods);
    case 'C':
      return Object.assign(new CalendarWindow(), { start: record.s, end: record.e, used: record.u });
    case 'F': {
      const durationMs = Number(record.key.split('|')[3]);
      return Object.assign(new FixedWindow(durationMs), { start: record.s, end: record.e, used: record.u });
    }
    case 'S': {
      const window = new SlidingWindow(Number(record.key.split('|')[3]));
      window.resume(record.buckets);
      return window;
    }
  }
}

/** The key of a share ends with its owner's name; the owner's own key has nothing there. */
function resumeShare(
  tree: ModelTree,
  node: string,
  record: Extract<WindowRecord, { t: 'P' }>,
  periods: Periods,
): SharedWindow {
  const parts = record.key.split('|');
  const owner = parts.slice(4).join('|');
  const ownerKey = [...parts.slice(0, 4), ''].join('|');
  const window = new SharedWindow(() => {
    const found = tree.node(owner).windows.get(ownerKey);
    return found instanceof AnchoredWindow ? found : undefined;
  });
  const known = periods.get(placeOf(owner, ownerKey)) ?? new Map<number, Known>();
  periods.set(placeOf(node, record.key), known);
  const used = record.shares.flatMap(({ s, u }): [PeriodId, number][] => {
    const period = known.get(s);
    return period ? [[period.id, u]] : [];
  });
  window.resume(new Map(used));
  return window;
}

const placeOf = (node: string, key: string): string => `${node}\0${key}`;

function resumeLearnt(node: ModelNode, { rate, learnt: a }: NodeRecord): void {
  const { tat, rt, rl, rn } = rate;
  if (tat !== null) node.rate = { tatUs: tat, intervalUs: rt, lastUs: rl, grants: rn };
  const number = (name: string, missing = 0): number => (typeof a[name] === 'number' ? a[name] : missing);
  const text = (name: string): string | null => (typeof a[name] === 'string' && a[name] !== '' ? a[name] : null);
  const { pace } = node.learnt;
  Object.assign(pace, { stretch: number('st', 1000), stretchedMs: number('sta') });
  Object.assign(pace, { pausedUntilMs: number('pz'), overloads: number('k') });
  node.learnt.frozenUntilMs = number('fz');
  const refusedAt = text('lm');
  node.learnt.refused = refusedAt === null ? null : { model: refusedAt, atMs: number('la') };
  if ('c' in a) node.learnt.adaptive = adaptiveOf(number, text('pr'), a['ce'] ?? null);
  if ('bc' in a) node.learnt.breaker = breakerOf(number, text('bp'));
}

type Numbers = (name: string, missing?: number) => number;

function adaptiveOf(number: Numbers, probe: string | null, ceilings: Packed): Adaptive {
  const known = Array.isArray(ceilings) ? ceilings.map(Number) : [];
  return {
    limit: number('c'),
    changedMs: number('ch'),
    pauseMs: number('P'),
    fullSinceMs: number('sat') < 0 ? null : number('sat'),
    probe,
    decreasedMs: number('de') < 0 ? -Infinity : number('de'),
    known: new Map([...known.entries()].filter(([, ceiling]) => ceiling >= 0)),
    hour: number('hr'),
  };
}

function breakerOf(number: Numbers, probe: string | null): Breaker {
  const [calls, failed, fromMs, openUntilMs] = [number('bc'), number('bf'), number('bs'), number('bo')];
  return { calls, failed, fromMs, openUntilMs, probe };
}

function resumeLease(
  tree: ModelTree,
  { id, record }: NamedLease,
  expiries: ReadonlyMap<string, number>,
  periods: Periods,
): ModelLease {
  const slot: Slot = { class: classAt(record.c), atVendor: record.d !== 1 };
  const live = record.v === 1;
  const landed = record.x === 1;
  for (const { node: name, charges } of record.n) {
    const node = tree.node(name);
    if (live) node.inFlight.add(slot);
    if (landed) continue;
    for (const charge of charges)
      reserve(node.windows.get(charge.n), { id, order: record.s }, charge, periods.get(placeOf(name, charge.n)));
  }
  const taken = record.n.map(({ node, number, charges }) => ({
    node,
    number,
    charges: charges.map((charge) => chargeOf(charge, landed, periods.get(placeOf(node, charge.n)))),
  }));
  return {
    request: requestOf(id, record),
    fence: record.f,
    grantedMs: record.g,
    grantedWallMs: record.w,
    taken,
    slot,
    dispatched: record.d > 0,
    putBack: record.s !== record.f,
    seq: record.p === 0 ? null : record.p,
    claimed: record.q === 1,
    live,
    landed,
    expiresMs: expiries.get(id) ?? 0,
  };
}

function reserve(
  window: ModelWindow | undefined,
  { id, order }: { readonly id: string; readonly order: number },
  charge: ChargeRecord,
  periods: ReadonlyMap<number, Known> | undefined,
): void {
  if (!window || (window.kind === 'meter' && charge.a === 1)) return;
  window.held.set(id, charge.R);
  if (!(window instanceof AnchoredWindow)) return;
  const settledAt = new Map([...(periods?.values() ?? [])].map((known) => [known.id, known.hf]));
  for (const period of window.periods)
    if (period.hi === null || order <= (settledAt.get(period.id) ?? 0)) period.pending.add(id);
}

function chargeOf(
  { n, R, k, b, m, q, a }: ChargeRecord,
  landed: boolean,
  periods: ReadonlyMap<number, Known> | undefined,
): ModelCharge {
  const within = [...(periods ?? [])].filter(([serial]) => landed && serial >= k && serial <= b);
  return {
    key: n,
    resource: RESOURCES[q - 1] ?? 'Requests',
    reserve: R,
    limitAmount: m,
    known: a === 1,
    place: a === 1 || !landed ? k : b,
    landed: within.map(([, { id }]) => id),
  };
}

/** Only what a lease remembers of its call. */
function requestOf(id: string, { o: owner, m: maxRuntimeMs, c, n }: LeaseRecord): ModelLease['request'] {
  const reserved = new Map(n.flatMap(({ charges }) => charges.map(({ q, R }) => [RESOURCES[q - 1], R])));
  return {
    id,
    owner,
    maxRuntimeMs,
    class: classAt(c),
    leaf: 'account',
    model: '',
    generation: 0,
    epoch: null,
    reserve: amountsBy((resource) => reserved.get(resource) ?? null),
    flowKey: '',
    attributes: {},
    wait: { mode: 'Reject', maxWaitMs: 0 },
    place: null,
  };
}

/** Amounts of a call, as far as limits have asked for them. `Tokens` is a sum: what no other names is counted as output. */
export function amountsBy(of: (resource: Resource) => number | null): Amounts {
  const amount = (resource: Resource): number => of(resource) ?? 0;
  const named = amount('InputTokens') + amount('CachedTokens') + amount('OutputTokens');
  const rest = Math.max(0, amount('Tokens') - named);
  const isInput = of('InputTokens') === null && of('OutputTokens') !== null;
  return {
    requests: amount('Requests'),
    prompts: amount('Prompts'),
    inputTokens: amount('InputTokens') + (isInput ? rest : 0),
    cachedTokens: amount('CachedTokens'),
    outputTokens: amount('OutputTokens') + (isInput ? 0 : rest),
    microCredits: amount('Credits'),
    nanoCost: amount('Cost'),
    costUnits: amount('CostUnits'),
    runtimeSeconds: amount('RuntimeSeconds'),
  };
}
