/** What learning an unknown limit costs: refusals of the vendor for what it accepts, and slots left unused. */
import { openTestEngine } from '#test/support/engine.ts';
import { startRedis } from '#test/support/redis.ts';
import type { Metric } from '../report.ts';
import { type HiddenLimit, learn, type LearningRun } from './hidden-limit.ts';
import type { Section } from './section.ts';

const STEP_MS = 20 * 60_000;
const TRACE = [5, 2, 1, 3, 6];
const LASTS_MS = TRACE.length * STEP_MS;
const MINUTE_MS = 60_000;
const JITTER = [2, 4, 1, 3, 3, 1, 4, 2, 1, 2, 4, 4, 3];

const fixed = (limit: number): HiddenLimit => ({ name: `limit ${limit}`, at: () => limit });
const LIMITS: readonly HiddenLimit[] = [
  fixed(1),
  fixed(2),
  fixed(5),
  { name: `trace ${TRACE.join('→')}`, at: (atMs) => TRACE[Math.min(TRACE.length - 1, Math.floor(atMs / STEP_MS))]! },
];
/** Known to be its weak case, and recorded without a goal. */
const RESTLESS: HiddenLimit = {
  name: '1 to 4, another each minute',
  at: (atMs) => JITTER[Math.floor(atMs / MINUTE_MS) % JITTER.length]!,
};

interface Learnt {
  readonly rejects: number;
  readonly utilisation: number;
}

export async function benchRejects({ log, quick }: Section): Promise<readonly Metric[]> {
  const seeds = quick ? 1 : 4;
  const lastsMs = LASTS_MS;
  // A server of its own: its clock is set, and it is emptied between the runs.
  await using server = await startRedis();
  const engine = await openTestEngine(server.socketPath);
  // Each run has an engine of its own on this connection, and each listens for its end.
  engine.redis.setMaxListeners(0);
  const found = new Map<string, Learnt>();
  try {
    for (const hidden of [...LIMITS, RESTLESS]) {
      const runs: LearningRun[] = [];
      for (let seed = 1; seed <= seeds; seed++) runs.push(await learn(engine, hidden, { seed, lastsMs }));
      found.set(hidden.name, summed(runs));
      const { rejects, utilisation } = summed(runs);
      log(
        `hidden ${hidden.name}: ${rejects.toFixed(1)} refused for 100 accepted, ${(100 * utilisation).toFixed(0)} % used`,
      );
    }
  } finally {
    engine.redis.disconnect();
  }
  const method =
    `the engine's Lua on a real Redis with the injected clock: ${seeds} runs of ${lastsMs / 1000} s each, 12 callers always waiting, service lognormal ` +
    '(median 12 s, σ 0.8), a refusal answered after 0.2 s and tried again as the sidecar does; limits 1, 2, 5 and one that changes each 20 minutes; ' +
    'the value is the worst of these four';
  const judged = LIMITS.map(({ name }) => found.get(name)!);
  const all = (value: (learnt: Learnt) => number) =>
    Object.fromEntries([...found].map(([name, learnt]) => [name, value(learnt)]));
  return [
    {
      id: 'engine.rejects_per_100',
      value: Math.max(...judged.map(({ rejects }) => rejects)),
      unit: 'refusals',
      goal: 5,
      better: 'lower',
      method,
      peers: all(({ rejects }) => rejects),
    },
    {
      id: 'engine.learnt_utilisation',
      value: Math.min(...judged.map(({ utilisation }) => utilisation)),
      unit: 'share',
      goal: null,
      better: 'higher',
      method,
      peers: all(({ utilisation }) => utilisation),
    },
  ];
}

function summed(runs: readonly LearningRun[]): Learnt {
  const sum = (value: (run: LearningRun) => number): number => runs.reduce((total, run) => total + value(run), 0);
  return {
    rejects: (100 * sum(({ refused }) => refused)) / sum(({ accepted }) => accepted),
    utilisation: sum((run) => run.utilisation) / runs.length,
  };
}
