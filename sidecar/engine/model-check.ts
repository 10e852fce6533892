/** Reference model: whether a call fits, and if not, which limit says so. Pure. */
import { ENGINE_CONSTANTS } from './constants.ts';
import { saturate, total } from './model-anchored.ts';
import { SlidingWindow } from './model-meters.ts';
import { amountOf, usedIn, type ModelNode, type ModelWindow, type World } from './model-node.ts';
import type { Amounts, DenyReason, LimitConfig, NodeConfig, Verdict } from './terms.ts';

export interface PathStep {
  readonly config: NodeConfig;
  readonly node: ModelNode;
}

export type Denial = Extract<Verdict, { kind: 'denied' }>;

/** Null: it fits on every node. Else the failing limit that opens last; unknown times yield to known ones. */
export function checkPath(path: readonly PathStep[], amounts: Amounts, world: World): Denial | null {
  const serverNowMs = world.now.wallMs;
  const denied = (reason: DenyReason, node: string, limit: string, rest: Failing & { amount: number }): Denial => {
    const { used, amount, retryAtMs } = rest;
    return { kind: 'denied', reason, node, limit, used, amount, retryAtMs, serverNowMs };
  };
  const stopped = path.find(({ config }) => config.stopped);
  if (stopped) return denied('Stopped', stopped.config.name, 'stop', { used: 0, amount: 0, retryAtMs: null });
  const failing = path.flatMap(({ config, node }) => {
    const { name, concurrency, rate } = config;
    const used = node.inFlight.size;
    const full = concurrency !== null && used >= concurrency;
    const rateOpensMs = rate ? rateOpens(node, rate, world) : null;
    return [
      ...(full ? [denied('Concurrency', name, 'concurrency', { used, amount: concurrency, retryAtMs: null })] : []),
      ...(rate && rateOpensMs !== null
        ? [denied('Rate', name, 'rate', { used: 0, amount: rate.burst, retryAtMs: rateOpensMs })]
        : []),
      ...config.limits.flatMap((limit) => {
        const found = checkLimit(node.window(limit, world), limit, amountOf(amounts, limit.resource), world);
        return found ? [denied('Window', name, limit.name, { ...found, amount: limit.amount })] : [];
      }),
    ];
  });
  const [first, ...others] = failing;
  if (!first) return null;
  return others.reduce((best, each) => ((each.retryAtMs ?? -1) > (best.retryAtMs ?? -1) ? each : best), first);
}

interface Failing {
  readonly used: number;
  readonly retryAtMs: number | null;
}

function rateOpens(
  node: ModelNode,
  rate: { readonly intervalUs: number; readonly burst: number },
  { now, logicalUs }: World,
): number | null {
  const opensUs = (node.rate?.tatUs ?? 0) - (rate.burst - 1) * rate.intervalUs;
  return logicalUs >= opensUs ? null : Math.ceil(opensUs / 1000) + now.wallMs - now.logicalMs;
}

function checkLimit(window: ModelWindow, limit: LimitConfig, amount: number, world: World): Failing | null {
  if (window.kind !== 'meter') return checkPeriods(window, limit, amount, world);
  if (amount <= limit.amount - window.used - total(window.held)) return null;
  const used = saturate(window.total);
  if (window instanceof SlidingWindow) return { used, retryAtMs: window.retryAt(amount, limit.amount, world.now) };
  return { used, retryAtMs: window.retryAt(amount, limit.amount) };
}

function checkPeriods(
  window: Exclude<ModelWindow, { kind: 'meter' }>,
  limit: LimitConfig,
  amount: number,
  { now }: World,
): Failing | null {
  if (window.periods.length === 0) return amount > limit.amount ? { used: 0, retryAtMs: null } : null;
  const reserved = total(window.held);
  const timeline = window.kind === 'anchored' ? window : window.timeline;
  const failing = window.periods
    .filter((period) => amount > limit.amount - usedIn(window, period) - reserved)
    .map((period): Failing => {
      const end = timeline?.endOf(period) ?? null;
      const earliest = (period.lo ?? -Infinity) + (timeline?.durationMs ?? 0) + ENGINE_CONSTANTS.GUARD_MS;
      const retryAtMs = end ?? (earliest > now.wallMs ? earliest : null);
      return { used: saturate(usedIn(window, period) + reserved), retryAtMs };
    });
  const [first, second] = failing;
  if (!first || !second) return first ?? null;
  return (second.retryAtMs ?? 0) > (first.retryAtMs ?? 0) ? second : first;
}
