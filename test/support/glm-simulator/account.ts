/** One account of the vendor: its keys, windows, slots and rate. */
import type { Facts, PlanFacts } from './facts.ts';
import { Gauge } from './gauge.ts';
import { NANO } from './money.ts';
import type { AccountConfig, WindowConfig } from './terms.ts';
import { UsageWindow } from './windows.ts';

const HOUR_MS = 3_600_000;

function planWindows(plan: PlanFacts): WindowConfig[] {
  const { resource, rowType } = plan;
  const fiveHour: WindowConfig = {
    name: 'five-hour',
    resource,
    amount: plan.fiveHour,
    durationMs: 5 * HOUR_MS,
    row: { type: rowType, unit: 3, number: 5 },
  };
  if (plan.weekly === undefined) return [fiveHour];
  const row = { type: rowType, unit: 6, number: 1 };
  return [fiveHour, { name: 'weekly', resource, amount: plan.weekly, durationMs: 168 * HOUR_MS, code: '1310', row }];
}

export class Account {
  readonly config: AccountConfig;
  readonly plan: PlanFacts | undefined;
  readonly windows: UsageWindow[];
  readonly gauges = new Map<string, Gauge>();
  balanceNanoUsd: number;
  #rateTokens: number;
  #rateAtMs = 0;

  constructor(config: AccountConfig, facts: Facts) {
    this.config = config;
    this.plan = config.plan === undefined ? undefined : facts.plans[config.plan];
    this.windows = [...(this.plan ? planWindows(this.plan) : []), ...(config.windows ?? [])].map(
      (window) => new UsageWindow(window),
    );
    this.balanceNanoUsd = Math.round((config.balanceUsd ?? (this.isPlan ? 0 : Infinity)) * NANO);
    this.#rateTokens = config.rate?.burst ?? 0;
  }

  get isPlan(): boolean {
    return (this.config.billing ?? 'CodingPlan') !== 'PayAsYouGo';
  }

  get isWeighted(): boolean {
    return this.config.weightedPrompts ?? this.plan?.weighted ?? false;
  }

  /** Keeps calls in flight, spent balance and windows of the same name through a change of configuration. */
  continueFrom(before: Account): void {
    for (const [model, gauge] of before.gauges) {
      gauge.limit = this.#limitOf(model);
      this.gauges.set(model, gauge);
    }
    for (const window of this.windows) {
      const same = before.windows.find(({ config }) => config.name === window.config.name);
      if (same) window.continueFrom(same);
    }
    if (before.config.balanceUsd === this.config.balanceUsd) this.balanceNanoUsd = before.balanceNanoUsd;
  }

  gauge(model: string): Gauge {
    let gauge = this.gauges.get(model);
    if (!gauge) {
      gauge = new Gauge(this.#limitOf(model));
      this.gauges.set(model, gauge);
    }
    return gauge;
  }

  /** Takes one call from the token bucket; real time, as the limit protects machines. */
  tryRate(nowMs: number): boolean {
    const rate = this.config.rate;
    if (!rate) return true;
    const refill = ((nowMs - this.#rateAtMs) * rate.perSecond) / 1000;
    this.#rateTokens = Math.min(rate.burst, this.#rateTokens + refill);
    this.#rateAtMs = nowMs;
    if (this.#rateTokens < 1) return false;
    this.#rateTokens -= 1;
    return true;
  }

  /** The used-up window with the latest reset, if any. */
  usedUpWindow(nowMs: number): UsageWindow | undefined {
    let worst: UsageWindow | undefined;
    for (const window of this.windows)
      if (window.isUsedUp(nowMs) && (!worst || window.config.durationMs > worst.config.durationMs)) worst = window;
    return worst;
  }

  #limitOf(model: string): number {
    return this.config.concurrency?.models?.[model] ?? this.config.concurrency?.default ?? Infinity;
  }
}
