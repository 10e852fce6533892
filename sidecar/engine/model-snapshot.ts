/** Reference model: what `snapshot` shows. Pure. */
import { ENGINE_CONSTANTS } from './constants.ts';
import { total } from './model-anchored.ts';
import { CalendarWindow } from './model-meters.ts';
import { usedIn, type ModelWindow, type World } from './model-node.ts';
import type { NodeConfig, NodeSnapshot, UsageSnapshot } from './terms.ts';

export function snapshotNodes(configs: readonly NodeConfig[], world: World): readonly NodeSnapshot[] {
  return configs.map(({ name, concurrency, stopped, limits }) => {
    const node = world.node(name);
    const usage = limits.map(({ name: limit, resource, amount, ...rest }): UsageSnapshot => {
      const window = node.window({ name: limit, resource, amount, ...rest }, world);
      return { limit, resource, amount, ...usageOf(window) };
    });
    return { name, inFlight: node.inFlight.size, concurrency, stopped, usage };
  });
}

function usageOf(window: ModelWindow): Pick<UsageSnapshot, 'used' | 'reserved' | 'resetsAtMs'> {
  const reserved = total(window.held);
  if (window.kind === 'meter') {
    const ends = window instanceof CalendarWindow && window.end < ENGINE_CONSTANTS.MAX_AMOUNT;
    return { used: window.used, reserved, resetsAtMs: ends ? window.end : null };
  }
  const [period] = window.periods;
  const timeline = window.kind === 'anchored' ? window : window.timeline;
  if (!period || !timeline) return { used: 0, reserved: 0, resetsAtMs: null };
  const resetsAtMs = timeline.endOf(period) ?? (period.lo ?? 0) + timeline.durationMs + ENGINE_CONSTANTS.GUARD_MS;
  return { used: usedIn(window, period), reserved, resetsAtMs };
}
