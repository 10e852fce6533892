/** Shares of a full node under backlog: 8:2:1, at the root and behind an inner node that is full. */
import { node } from '#test/support/engine.ts';
import type { Metric } from '../report.ts';
import { contend, type Contention, startedWithin } from './contention.ts';
import { openPod, openPods } from './pods.ts';
import type { Section } from './section.ts';
import { MODEL_NODES, openEngineTree } from './trees.ts';

const WEIGHTS = [8, 2, 1] as const;
const SUM = 11;
const SLOTS = 4;
const SERVICE_MS = 20;
const PODS_EACH = 5;
const FULL = { callersEach: 40, warmMs: 1500, measureMs: 8000 };
const QUICK = { callersEach: 20, warmMs: 500, measureMs: 2000 };

export async function benchWeights(section: Section): Promise<readonly Metric[]> {
  const size = section.quick ? QUICK : FULL;
  const atRoot = await measure(section, 'account');
  const behind = await measure(section, 'quota:bench/team');
  const shares = Object.fromEntries(
    [...sharesOf(atRoot), ...sharesOf(behind)].map((share, index) => [
      `${index < WEIGHTS.length ? 'root' : 'inner'}, ${WEIGHTS[index % WEIGHTS.length]} of ${SUM}`,
      share,
    ]),
  );
  return [
    {
      id: 'engine.weight_error',
      value: Math.max(errorOf(atRoot), errorOf(behind)),
      unit: 'share',
      goal: 0.02,
      better: 'lower',
      method:
        `largest difference between a tenant’s share of the calls and its weight’s, weights 8:2:1, ${size.callersEach} callers on ${PODS_EACH} pods each, ` +
        `${SLOTS} slots, ${SERVICE_MS} ms, ${size.measureMs / 1000} s; the worse of: account full; an inner node full below an account with room`,
      peers: { 'account full': errorOf(atRoot), 'inner node full': errorOf(behind), ...shares },
    },
  ];
}

async function measure({ world, log, quick }: Section, full: string): Promise<Contention> {
  const { callersEach, warmMs, measureMs } = quick ? QUICK : FULL;
  log(`weights 8:2:1 with ${full} full, ${(warmMs + measureMs) / 1000} s`);
  const isInner = full !== 'account';
  const tree = await openEngineTree(world, isInner ? 'weights-inner' : 'weights-root', [
    node('account', null, { concurrency: isInner ? 50 : SLOTS }),
    ...MODEL_NODES,
    node('quota:bench/team', 'account', { concurrency: isInner ? SLOTS : null }),
    ...WEIGHTS.map((weight) => node(`quota:bench/${weight}`, 'quota:bench/team', { weight })),
  ]);
  await using stack = new AsyncDisposableStack();
  const leaf = (index: number): string => `quota:bench/${WEIGHTS[index % WEIGHTS.length]}`;
  const open = (index: number) => openPod(tree.snapshotFor(leaf(index)), `pod-${index}`);
  const pods = await openPods(WEIGHTS.length * PODS_EACH, open, stack);
  const gate = {
    run: async (caller: number, work: () => Promise<void>) => pods[caller % pods.length]!.run(work),
    [Symbol.asyncDispose]: async () => undefined,
  };
  const callers = WEIGHTS.length * callersEach;
  return await contend(gate, { callers, slots: SLOTS, serviceMs: SERVICE_MS, warmMs, measureMs });
}

function sharesOf(run: Contention): readonly number[] {
  const started = startedWithin(run);
  return WEIGHTS.map((_, index) => {
    const own = started.filter(({ caller }) => caller % WEIGHTS.length === index);
    return own.length / started.length;
  });
}

function errorOf(run: Contention): number {
  return Math.max(...sharesOf(run).map((share, index) => Math.abs(share - WEIGHTS[index]! / SUM)));
}
