/** Reference model: one node's counters, their configuration changes, and what a lease takes of them. Pure. */
import { ENGINE_CONSTANTS } from './constants.ts';
import { AnchoredWindow, SharedWindow, total, type Ending, type Period, type PeriodId } from './model-anchored.ts';
import { saturate } from './model-anchored.ts';
import { boundsOf, newAdaptive, rollHour, type Adaptive } from './model-adaptive.ts';
import { CalendarWindow, FixedWindow, SlidingWindow, type Now } from './model-meters.ts';
import { intervalOf, newPace, type Breaker } from './model-pace.ts';
import type { Configs } from './model-path.ts';
import { windowKey } from './tree.ts';
import type { Settlement } from './terms.ts';
import type { Amounts, LimitConfig, NodeConfig, NodeName, PriorityClass, Resource } from './tree-terms.ts';

export type ModelWindow = AnchoredWindow | SharedWindow | CalendarWindow | FixedWindow | SlidingWindow;

/** One call in flight, as its nodes see it. */
export interface Slot {
  readonly class: PriorityClass;
  /** False: granted out of the queue and not heard of since, or held after its end. */
  atVendor: boolean;
}

/** What a lease took of one limit. */
export interface ModelCharge {
  readonly key: string;
  readonly resource: Resource;
  readonly reserve: number;
  readonly limitAmount: number;
  /** Known when the call starts: lands at the grant in windows of our own. */
  readonly known: boolean;
  place: number;
  landed: readonly PeriodId[];
}

export interface ModelRate {
  tatUs: number;
  intervalUs: number;
  lastUs: number;
  grants: number;
}

/** What a node learnt from the vendor's answers. */
export interface Learnt {
  adaptive: Adaptive | null;
  readonly pace: ReturnType<typeof newPace>;
  breaker: Breaker | null;
  /** Wall time; 0: never. */
  frozenUntilMs: number;
  /** Of the account: where calls were last refused for being too many. */
  refused: { readonly model: NodeName; readonly atMs: number } | null;
}

export class ModelNode {
  readonly inFlight = new Set<Slot>();
  rate: ModelRate | null = null;
  /** Shared by copies: what a check learns stays, even if its call takes nothing. */
  learnt: Learnt = { adaptive: null, pace: newPace(), breaker: null, frozenUntilMs: 0, refused: null };
  readonly windows = new Map<string, ModelWindow>();
  /** Amount of each window's limit when it was last taken from or configured. */
  readonly amounts = new Map<string, number>();

  copy(): ModelNode {
    const copy = new ModelNode();
    for (const slot of this.inFlight) copy.inFlight.add(slot);
    copy.learnt = this.learnt;
    copy.rate = this.rate && { ...this.rate };
    for (const [key, window] of this.windows) copy.windows.set(key, window.copy());
    for (const [key, amount] of this.amounts) copy.amounts.set(key, amount);
    return copy;
  }

  /** The adaptive limit brought up to the clock; null: the limit is fixed. */
  adaptive(config: NodeConfig, now: Now): Adaptive | null {
    const bounds = boundsOf(config);
    if (!bounds) return null;
    this.learnt.adaptive ??= newAdaptive(bounds.start, now);
    rollHour(this.learnt.adaptive, bounds.min, now);
    return this.learnt.adaptive;
  }

  /** Takes one token, however many there are. Returns its number. */
  takeRate(config: NodeConfig, { now, logicalUs }: World): number {
    if (!config.rate) return 0;
    const intervalUs = intervalOf(config, this.learnt.pace, now);
    const tatUs = Math.max(this.rate?.tatUs ?? 0, logicalUs) + intervalUs;
    const most = config.observe ? logicalUs + config.rate.burst * intervalUs : Infinity;
    const grants = (this.rate?.grants ?? 0) + 1;
    this.rate = { tatUs: Math.min(tatUs, most), intervalUs, lastUs: logicalUs, grants };
    return grants;
  }

  /**
   * Gives back the token of that number. Later grants stand at least one interval apart, so the arrival time may not fall
   * below theirs: else a token that time had returned already would be given out again.
   */
  refundRate(number: number): void {
    if (!this.rate || number === 0) return;
    const { tatUs, intervalUs, lastUs, grants } = this.rate;
    const floor = grants > number ? lastUs + (grants - number) * intervalUs : 0;
    this.rate.tatUs = Math.min(tatUs, Math.max(tatUs - intervalUs, floor));
  }

  window(limit: LimitConfig, world: World): ModelWindow {
    const key = windowKey(limit);
    const window = this.windows.get(key) ?? newWindow(limit, world);
    this.windows.set(key, window);
    roll(window, calendarOf(key), world);
    return window;
  }

  take(id: string, limit: LimitConfig, amounts: Amounts, world: World): ModelCharge {
    const window = this.window(limit, world);
    const key = windowKey(limit);
    // Only a registration can bring this much; sums stay exact.
    const reserve = Math.min(amountOf(amounts, limit.resource), ENGINE_CONSTANTS.MAX_AMOUNT - total(window.held));
    const known = limit.resource === 'Requests' || limit.resource === 'Prompts';
    this.amounts.set(key, limit.amount);
    const charge = { key, resource: limit.resource, reserve, limitAmount: limit.amount, known, place: 0, landed: [] };
    if (window.kind === 'meter') {
      if (known) window.land(reserve, world.now);
      else window.held.set(id, reserve);
      charge.place = window.placeAt(world.now);
    } else {
      window.take(id, reserve, world.now.wallMs);
    }
    return charge;
  }

  /** True: the limit is exceeded now, because more was used than reserved. */
  settle(id: string, charge: ModelCharge, settled: Settled, world: World): boolean {
    const window = this.windows.get(charge.key);
    if (!window) return false;
    roll(window, calendarOf(charge.key), world);
    const amount = landing(charge, settled);
    if (window.kind !== 'meter') {
      charge.landed = window.settle(id, amount, settled.ending);
    } else if (charge.known) {
      window.correct(amount - charge.reserve, charge.place, world.now);
      return amount > charge.reserve && window.total > charge.limitAmount;
    } else {
      window.held.delete(id);
      window.land(amount, world.now);
      charge.place = window.placeAt(world.now);
    }
    return amount > charge.reserve && totalOf(window, 'newest') > charge.limitAmount;
  }

  settleLate(charge: ModelCharge, settled: Settled, world: World): void {
    const window = this.windows.get(charge.key);
    if (!window) return;
    roll(window, calendarOf(charge.key), world);
    const amount = landing(charge, settled);
    if (window.kind === 'meter') window.correct(amount - charge.reserve, charge.place, world.now);
    else window.settleLate(charge, amount, settled.ending);
  }
}

export interface Settled {
  readonly ending: Ending;
  /** Null: nobody knows; what was reserved is taken for it. */
  readonly actual: Amounts | null;
}

function landing(charge: ModelCharge, { ending, actual }: Settled): number {
  if (ending.refund) return 0;
  return actual ? amountOf(actual, charge.resource) : charge.reserve;
}

/** What windows need of their surroundings. */
export interface World {
  readonly now: Now;
  readonly logicalUs: number;
  node(name: NodeName): ModelNode;
  readonly configs: Configs;
  /** `<period> <zone>` → boundaries. */
  readonly calendars: ReadonlyMap<string, readonly number[]>;
}

export function amountOf(amounts: Amounts, resource: Resource): number {
  const { inputTokens, cachedTokens, outputTokens } = amounts;
  const by: Record<Resource, number> = {
    Requests: amounts.requests,
    Prompts: amounts.prompts,
    InputTokens: inputTokens,
    CachedTokens: cachedTokens,
    OutputTokens: outputTokens,
    Tokens: saturate(inputTokens + cachedTokens + outputTokens),
    Credits: amounts.microCredits,
    Cost: amounts.nanoCost,
    CostUnits: amounts.costUnits,
    RuntimeSeconds: amounts.runtimeSeconds,
  };
  return by[resource];
}

function newWindow({ window, windowOwner, ...limit }: LimitConfig, world: World): ModelWindow {
  if (window.type === 'Calendar') return new CalendarWindow();
  if (window.type === 'Fixed') return new FixedWindow(window.durationMs);
  if (window.type === 'Sliding') return new SlidingWindow(window.durationMs);
  if (windowOwner === undefined) return new AnchoredWindow(window.durationMs);
  const key = windowKey({ ...limit, window });
  return new SharedWindow(() => {
    const owner = world.node(windowOwner).windows.get(key);
    return owner instanceof AnchoredWindow ? owner : undefined;
  });
}

function calendarOf(key: string): string {
  return key.split('|')[3] ?? '';
}

export function roll(window: ModelWindow, calendar: string, { now, calendars }: World): void {
  if (window instanceof CalendarWindow) window.roll(now, calendars.get(calendar) ?? null);
  else if (window instanceof SlidingWindow || window instanceof FixedWindow) window.roll(now);
  else if (window instanceof AnchoredWindow) window.roll(now.wallMs);
  else window.timeline?.roll(now.wallMs);
}

export function usedIn(window: AnchoredWindow | SharedWindow, period: Period): number {
  return window instanceof SharedWindow ? window.usedIn(period) : period.used;
}

/** Used and reserved: of the fullest period, or of the newest. */
export function totalOf(window: ModelWindow, which: 'fullest' | 'newest'): number {
  if (window.kind === 'meter') return window.total;
  const totals = window.periods.map((period) => usedIn(window, period) + total(window.held));
  return which === 'newest' ? (totals.at(-1) ?? 0) : Math.max(0, ...totals);
}

/** Rows of the rollback matrix: refund the windows, return the rate token, the vendor accepted the call if it answered. */
export const MATRIX: Record<Settlement['outcome'], readonly [boolean, boolean, boolean]> = {
  completed: [false, false, true],
  brokeMidStream: [false, false, true],
  neverSent: [true, true, false],
  refusedConcurrency: [true, false, false],
  refusedRate: [true, false, false],
  refusedOverload: [true, false, false],
  refusedQuota: [true, false, false],
  failedBeforeFirstByte: [true, false, false],
  rejected: [true, false, false],
};
