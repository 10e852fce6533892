/** A crowd before four slots: how well they are used, how evenly, how fast they change hands, and at what price in calls. */
import { node, limit } from '#test/support/engine.ts';
import type { Metric } from '../report.ts';
import { openBottleneck } from '../peers/bottleneck.ts';
import { openBullMq } from '../peers/bullmq.ts';
import {
  contend,
  type Contention,
  type ContentionPlan,
  fairness,
  type Gate,
  gapQuantile,
  mostInFlight,
  startedWithin,
  utilisation,
} from './contention.ts';
import { openPod, openPods, type SlotEvents } from './pods.ts';
import { quantile, scriptStats, type Section } from './section.ts';
import { MODEL_NODES, openEngineTree } from './trees.ts';

export const ENGINE = 'glmquota';

export interface Backlog {
  /** By the system's name, the engine first. */
  readonly runs: ReadonlyMap<string, Contention>;
  readonly metrics: readonly Metric[];
}

const SLOTS = 4;
const SERVICE_MS = 50;
const FULL = { callers: 200, tenants: 20, warmMs: 4000, measureMs: 20_000 };
const QUICK = { callers: 40, tenants: 10, warmMs: 1000, measureMs: 3000 };
type Size = typeof FULL;

/** When slots were freed, and when the next waiter heard of it. */
class Handoffs implements SlotEvents {
  readonly #freedMs: number[] = [];
  readonly #toldMs: number[] = [];

  freed(): void {
    this.#freedMs.push(performance.now());
  }

  told(): void {
    this.#toldMs.push(performance.now());
  }

  /**
   * Under backlog every settlement tells one waiter, in the order in which Redis ran them: the k-th that was told has the
   * k-th slot that was freed.
   */
  within({ fromMs, toMs }: Contention): readonly number[] {
    return this.#toldMs.flatMap((toldMs, index) => {
      const freedMs = this.#freedMs[index] ?? Number.NaN;
      return freedMs >= fromMs && toldMs < toMs ? [toldMs - freedMs] : [];
    });
  }
}

export async function benchBacklog(section: Section): Promise<Backlog> {
  const { world, log, quick } = section;
  const size = quick ? QUICK : FULL;
  const { callers, warmMs, measureMs } = size;
  const sample = async (): Promise<number> => (await scriptStats(world.redis.redis)).calls;
  const plan = { callers, slots: SLOTS, serviceMs: SERVICE_MS, warmMs, measureMs, sample };
  const handoffs = new Handoffs();
  const gates: Readonly<Record<string, () => Promise<Gate>>> = {
    [ENGINE]: () => openEngineGate(section, size, handoffs),
    bottleneck: () => openBottleneck(world, plan),
    bullmq: () => openBullMq(world, plan),
  };
  const runs = new Map<string, Contention>();
  for (const [name, open] of Object.entries(gates)) {
    log(`backlog, ${name}: ${callers} callers before ${SLOTS} slots for ${(warmMs + measureMs) / 1000} s`);
    const run = await contendAt(open, { ...plan, mayStall: name !== ENGINE });
    runs.set(name, run);
    if (!run.isServed) log(`backlog, ${name}: some callers were never served again`);
    const gap = gapQuantile(run, 0.5).toFixed(1);
    log(`backlog, ${name}: utilisation ${utilisation(run).toFixed(3)}, slot to next work p50 ${gap} ms`);
  }
  return { runs, metrics: metricsOf(runs, handoffs, size) };
}

async function contendAt(open: () => Promise<Gate>, plan: ContentionPlan): Promise<Contention> {
  await using gate = await open();
  return await contend(gate, plan);
}

/** One pod a caller, the tenants' quotas of one weight under a team of the account. */
async function openEngineGate({ world }: Section, { callers, tenants }: Size, events: SlotEvents): Promise<Gate> {
  await using stack = new AsyncDisposableStack();
  const window = { type: 'Fixed', durationMs: 86_400_000 } as const;
  const tree = await openEngineTree(world, 'backlog', [
    node('account', null, { concurrency: SLOTS, limits: [limit('daily', 1_000_000_000, { window })] }),
    ...MODEL_NODES,
    node('quota:bench/team', 'account'),
    ...Array.from({ length: tenants }, (_, index) => node(leafOf(index), 'quota:bench/team')),
  ]);
  const open = (index: number) => openPod(tree.snapshotFor(leafOf(index % tenants)), `pod-${index}`, events);
  const pods = await openPods(callers, open, stack);
  const owned = stack.move();
  return {
    run: async (caller, work) => pods[caller]!.run(work),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

function leafOf(tenant: number): string {
  return `quota:bench/tenant-${tenant}`;
}

function metricsOf(runs: Backlog['runs'], handoffs: Handoffs, { callers, tenants, measureMs }: Size): Metric[] {
  const ours = runs.get(ENGINE)!;
  const peers = (value: (run: Contention) => number): Record<string, number> =>
    Object.fromEntries([...runs].filter(([name]) => name !== ENGINE).map(([name, run]) => [name, value(run)]));
  const told = handoffs.within(ours);
  const crowd = `closed loop of ${callers} callers before ${SLOTS} slots, ${SERVICE_MS} ms of service, ${measureMs / 1000} s`;
  const pods = `${crowd}; the engine with one sidecar's lease layer and connection a caller, bottleneck with one limiter a caller`;
  const bull = 'BullMQ with global concurrency and 20 workers that run any caller’s job';
  const all = `${pods}; ${bull}`;
  const tenantOf = (caller: number): number => caller % tenants;
  const told50 = quantile(told, 0.5);
  const work = (part: number) => ({
    [`${ENGINE}, end of work to next work`]: gapQuantile(ours, part),
    ...peers((run) => gapQuantile(run, part)),
  });
  const handoff = `settlement sent by the holder to grant received by the next waiter over the push channel, ${told.length} of them under backlog; peers: end of one piece of work to the start of the one that has its slot; ${all}`;
  const perGrant = (run: Contention): number => run.sampled / startedWithin(run).length;
  return [
    {
      id: 'engine.utilisation',
      value: utilisation(ours),
      unit: 'share',
      goal: 0.96,
      better: 'higher',
      method: `slot time in which work was done, of all slot time; ${all}`,
      peers: peers(utilisation),
    },
    {
      id: 'engine.jain',
      value: fairness(ours, tenants, tenantOf),
      unit: 'index',
      goal: 0.99,
      better: 'higher',
      method: `Jain’s index of calls over ${tenants} tenants of equal weight with ${callers / tenants} callers each; ${all}`,
      peers: peers((run) => fairness(run, tenants, tenantOf)),
    },
    {
      id: 'engine.jain_callers',
      value: fairness(ours, callers, (caller) => caller),
      unit: 'index',
      goal: 0.95,
      better: 'higher',
      method: `the same over the ${callers} callers, who are served ${Math.round(startedWithin(ours).length / callers)} times each`,
      peers: peers((run) => fairness(run, callers, (caller) => caller)),
    },
    {
      id: 'engine.handoff_p50_ms',
      value: told50,
      unit: 'ms',
      goal: null,
      better: 'lower',
      method: handoff,
      peers: work(0.5),
    },
    {
      id: 'engine.handoff_p99_ms',
      value: quantile(told, 0.99),
      unit: 'ms',
      goal: 5,
      better: 'lower',
      method: handoff,
      peers: work(0.99),
    },
    {
      id: 'engine.calls_per_grant',
      value: perGrant(ours),
      unit: 'calls',
      goal: 2.3,
      better: 'lower',
      method: `functions and scripts by INFO commandstats, beats and ticks among them, for one piece of work; ${all}`,
      peers: peers(perGrant),
    },
    {
      id: 'engine.backlog_most_in_flight',
      value: mostInFlight(ours),
      unit: 'calls',
      goal: SLOTS,
      better: 'lower',
      method: `the most pieces of work at any moment; ${all}`,
      peers: peers(mostInFlight),
    },
  ];
}
