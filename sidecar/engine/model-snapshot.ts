/** Reference model: what `snapshot` shows. Pure. */
import { ENGINE_CONSTANTS } from './constants.ts';
import { boundsOf } from './model-adaptive.ts';
import { total } from './model-anchored.ts';
import { isStopped } from './model-check.ts';
import { PeriodicWindow } from './model-meters.ts';
import { usedIn, type ModelWindow } from './model-node.ts';
import type { Breaker } from './model-pace.ts';
import type { ModelTree } from './model-tree.ts';
import { ancestry } from './tree.ts';
import type { NodeSnapshot, UsageSnapshot } from './terms.ts';
import type { NodeConfig } from './tree-terms.ts';

export function snapshotNodes(configs: readonly NodeConfig[], tree: ModelTree): readonly NodeSnapshot[] {
  const { wallMs, logicalMs } = tree.now;
  const above = tree.room.waiters.flatMap(({ request, sinceMs }) => {
    const leaf = tree.configs.get(request.leaf);
    return leaf ? ancestry(leaf, tree.configs).map(({ name }) => ({ name, sinceMs })) : [];
  });
  // Slots whose hold is over are as good as free: the next call that writes frees them.
  const over = new Set(tree.leases.holds.filter(({ untilMs }) => untilMs <= logicalMs).map(({ slot }) => slot));
  return configs.map((config) => {
    const { name, stops, limits } = config;
    const node = tree.node(name);
    const { adaptive, breaker, frozenUntilMs } = node.learnt;
    const waiting = above.filter((each) => each.name === name).map(({ sinceMs }) => sinceMs);
    const usage = limits.map((limit): UsageSnapshot => {
      const { name: limitName, resource, amount } = limit;
      return { limit: limitName, resource, amount, ...usageOf(node.window(limit, tree)) };
    });
    return {
      name,
      inFlight: node.inFlight.difference(over).size,
      concurrency: boundsOf(config) ? (adaptive?.limit ?? boundsOf(config)?.start ?? null) : config.concurrency,
      stopped: isStopped(stops, wallMs),
      queued: waiting.length,
      frozenUntilMs: frozenUntilMs > wallMs ? frozenUntilMs : null,
      breaker: config.breaker ? breakerState(breaker, logicalMs) : 'Closed',
      rateWaitUs: Math.max(0, (node.rate?.tatUs ?? 0) - tree.logicalUs),
      oldestWaiterMs: waiting.length === 0 ? null : wallMs - logicalMs + Math.min(...waiting),
      usage,
    };
  });
}

function breakerState(breaker: Breaker | null, logicalMs: number): NodeSnapshot['breaker'] {
  if (!breaker || breaker.openUntilMs === 0) return 'Closed';
  return logicalMs < breaker.openUntilMs ? 'Open' : 'HalfOpen';
}

function usageOf(window: ModelWindow): Pick<UsageSnapshot, 'used' | 'reserved' | 'resetsAtMs' | 'anchor'> {
  const reserved = total(window.held);
  if (window.kind === 'meter') {
    const ends = window instanceof PeriodicWindow && window.end < ENGINE_CONSTANTS.MAX_AMOUNT;
    return { used: window.used, reserved, resetsAtMs: ends ? window.end : null };
  }
  const [period] = window.periods;
  const timeline = window.kind === 'anchored' ? window : window.timeline;
  if (!period || !timeline) return { used: 0, reserved: 0, resetsAtMs: null };
  const resetsAtMs = timeline.endOf(period) ?? (period.lo ?? 0) + timeline.durationMs + ENGINE_CONSTANTS.GUARD_MS;
  const anchor = period.lo === null ? {} : { anchor: { loMs: period.lo, hiMs: period.hi } };
  return { used: usedIn(window, period), reserved, resetsAtMs, ...anchor };
}
