/** Reference model: whether an amount fits into one limit, with what is guaranteed to others (rule N3). Pure. */
import { ENGINE_CONSTANTS } from './constants.ts';
import { saturate, SharedWindow, total, type Period } from './model-anchored.ts';
import { PeriodicWindow, SlidingWindow } from './model-meters.ts';
import { usedIn, type ModelWindow, type World } from './model-node.ts';
import { ancestry, windowKey } from './tree.ts';
import type { LimitConfig, NodeConfig } from './tree-terms.ts';

/** Why an amount does not fit. */
export interface Shortage {
  readonly used: number;
  /** Wall time. */
  readonly retryMs: number | null;
  /** Logical time at which to look again, though nobody can say that there is room then. */
  readonly timerMs: number | null;
  /** What is settled alone leaves no room. */
  readonly usedUp: boolean;
  /** Not even with nothing used: the limit is too small, or promised to others. */
  readonly never: boolean;
}

export interface LimitAt {
  readonly config: NodeConfig;
  readonly limit: LimitConfig;
  /** The nodes the call is counted on. */
  readonly path: readonly NodeConfig[];
}

/** Null: there is room. */
export function checkLimit(at: LimitAt, asked: number, world: World): Shortage | null {
  const { config, limit } = at;
  const window = world.node(config.name).window(limit, world);
  if (window.kind !== 'meter') return checkPeriods(window, at, asked, world);
  const isPeriodic = window instanceof PeriodicWindow;
  const never = asked > limit.amount - (isPeriodic ? keptFree(at, null, world) : 0);
  const kept = isPeriodic ? keptFree(at, window, world) : 0;
  if (asked <= limit.amount - window.used - total(window.held) - kept) return null;
  const retryMs =
    window instanceof SlidingWindow
      ? window.retryAt(asked, limit.amount, world.now)
      : window.retryAt(asked, limit.amount);
  const usedUp = asked > limit.amount - window.used;
  return { used: saturate(window.total + kept), retryMs, timerMs: null, usedUp, never };
}

function checkPeriods(
  window: Exclude<ModelWindow, { kind: 'meter' }>,
  at: LimitAt,
  asked: number,
  world: World,
): Shortage | null {
  const { amount } = at.limit;
  const kept = keptFree(at, null, world);
  const never = asked > amount - kept;
  if (window.periods.length === 0) {
    return never ? { used: saturate(kept), retryMs: null, timerMs: null, usedUp: false, never } : null;
  }
  const reserved = total(window.held);
  const failing = window.periods.flatMap((period): readonly Shortage[] => {
    const used = usedIn(window, period);
    const unclaimed = keptFree(at, period, world);
    if (asked <= amount - used - reserved - unclaimed) return [];
    const retryMs = opensAt(window, period, world);
    // Calls of siblings may keep its periods open: their end is no news of this node's.
    const timerMs =
      window.kind === 'shared' && retryMs === null ? world.now.logicalMs + ENGINE_CONSTANTS.GUARD_MS : null;
    return [{ used: saturate(used + reserved + unclaimed), retryMs, timerMs, usedUp: asked > amount - used, never }];
  });
  const [first, second] = failing;
  if (!first) return null;
  const last = second && (second.retryMs ?? 0) > (first.retryMs ?? 0) ? second : first;
  return { ...last, usedUp: failing.some(({ usedUp }) => usedUp) };
}

/** When the period has surely ended, or may have; null: nobody can say. */
function opensAt(window: Exclude<ModelWindow, { kind: 'meter' }>, period: Period, { now }: World): number | null {
  const timeline = window.kind === 'anchored' ? window : window.timeline;
  const end = timeline?.endOf(period) ?? null;
  const earliest = (period.lo ?? -Infinity) + (timeline?.durationMs ?? 0) + ENGINE_CONSTANTS.GUARD_MS;
  return end ?? (earliest > now.wallMs ? earliest : null);
}

/** What children that are not on the call's path were promised of this limit and have not used in that period. */
function keptFree({ config, limit, path }: LimitAt, during: Period | PeriodicWindow | null, world: World): number {
  let kept = 0;
  for (const child of world.configs.values()) {
    const promise = child.limits.find(({ name, guaranteed }) => name === limit.name && guaranteed !== undefined);
    if (!promise || path.includes(child) || guarantor(child, limit.name, world) !== config.name) continue;
    const window = world.node(child.name).windows.get(windowKey(promise));
    kept += Math.max(0, (promise.guaranteed ?? 0) - (during && window ? claimed(window, during) : 0));
  }
  return kept;
}

/** The nearest ancestor that has a limit of that name. */
function guarantor(child: NodeConfig, name: string, world: World): string | undefined {
  const [, ...above] = ancestry(child, world.configs);
  return above.find(({ limits }) => limits.some((each) => each.name === name))?.name;
}

/** What a node was promised is counted in its guarantors' windows, so these come up to the clock with its own. */
export function rollGuarantors(name: string, world: World): void {
  const config = world.configs.get(name);
  for (const limit of config?.limits ?? []) {
    if (!config || limit.guaranteed === undefined || !world.node(name).windows.has(windowKey(limit))) continue;
    const owner = world.configs.get(guarantor(config, limit.name, world) ?? '');
    const above = owner?.limits.find((each) => each.name === limit.name);
    if (owner && above) world.node(owner.name).window(above, world);
  }
}

function claimed(window: ModelWindow, during: Period | PeriodicWindow): number {
  if (during instanceof PeriodicWindow) {
    if (!(window instanceof PeriodicWindow)) return 0;
    return (window.start === during.start ? window.used : 0) + total(window.held);
  }
  return window instanceof SharedWindow ? window.usedIn(during) + total(window.held) : 0;
}
