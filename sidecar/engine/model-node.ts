/** Reference model: one node's counters, their configuration changes, and what a lease takes of them. Pure. */
import { ENGINE_CONSTANTS } from './constants.ts';
import { AnchoredWindow, SharedWindow, total, type Ending, type Period, type PeriodId } from './model-anchored.ts';
import { CalendarWindow, SlidingWindow, type Now } from './model-meters.ts';
import { saturate } from './model-anchored.ts';
import { windowKey } from './tree.ts';
import type { Amounts, LimitConfig, NodeName, Resource, Settlement } from './terms.ts';

export type ModelWindow = AnchoredWindow | SharedWindow | CalendarWindow | SlidingWindow;

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

export class ModelNode {
  readonly inFlight = new Set<string>();
  rate: ModelRate | null = null;
  readonly windows = new Map<string, ModelWindow>();
  /** Amount of each window's limit when it was last taken from or configured. */
  readonly amounts = new Map<string, number>();

  copy(): ModelNode {
    const copy = new ModelNode();
    for (const id of this.inFlight) copy.inFlight.add(id);
    copy.rate = this.rate && { ...this.rate };
    for (const [key, window] of this.windows) copy.windows.set(key, window.copy());
    for (const [key, amount] of this.amounts) copy.amounts.set(key, amount);
    return copy;
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
    const amount = settled.ending.refund ? 0 : amountOf(settled.actual, charge.resource);
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
    const amount = settled.ending.refund ? 0 : amountOf(settled.actual, charge.resource);
    if (window.kind === 'meter') window.correct(amount - charge.reserve, charge.place, world.now);
    else window.settleLate(charge, amount, settled.ending);
  }
}

export interface Settled {
  readonly ending: Ending;
  readonly actual: Amounts;
}

/** What windows need of their surroundings. */
export interface World {
  readonly now: Now;
  readonly logicalUs: number;
  node(name: NodeName): ModelNode;
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
  };
  return by[resource];
}

function newWindow({ window, windowOwner, ...limit }: LimitConfig, world: World): ModelWindow {
  if (window.type === 'Calendar') return new CalendarWindow();
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
  else if (window instanceof SlidingWindow) window.roll(now);
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
  refusedRate: [true, false, false],
  refusedQuota: [true, false, false],
  failedBeforeFirstByte: [true, false, false],
  rejected: [true, false, false],
};
