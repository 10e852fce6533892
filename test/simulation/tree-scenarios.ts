/** What people and the vendor change while calls run: one class each, with what it promises. */
import * as faults from './faults.ts';
import type { Random } from './random.ts';
import type { Scenario } from './run.ts';
import { anyShape, instant, moment, roomyShape, several } from './shapes.ts';
import type { Shape } from './tree.ts';

type Change = (shape: Shape, random: Random) => Partial<Shape>;

/**
 * Limits go up and down; each grant is held to them as they are then. Not so rates: they are held to the fastest there was,
 * so what has none gets none.
 */
const LIMITS: Change = (shape, random) => {
  const between = (amount: number | null, least: number, most: number): number | null =>
    amount === null ? null : random.int(least, most);
  return {
    concurrency: random.int(1, 4),
    teamConcurrency: random.chance(0.5) ? random.int(1, 3) : null,
    modelConcurrency: random.chance(0.5) ? random.int(1, 3) : null,
    windowAmount: between(shape.windowAmount, 4, 30),
    teamAmount: between(shape.teamAmount, 2, 15),
    slidingAmount: between(shape.slidingAmount, 3, 12),
    intervalMs: between(shape.intervalMs, 200, 1500),
  };
};

function changes(random: Random, make: Change, name: string): readonly faults.Fault[] {
  return several(random, 2, 8, (index) => {
    const own = random.fork(`${name} ${index}`);
    return faults.configure(instant(random), name, (shape) => ({ ...shape, ...make(shape, own) }));
  });
}

const alone =
  (make: Change, name: string): Scenario['faults'] =>
  (random) =>
    changes(random, make, name);

const changing = { sidecars: 3, shape: anyShape, promises: { timesLimit: 1 } } as const;

export const limitChanges: Scenario = { ...changing, faults: alone(LIMITS, 'limits are changed') };

export const reParenting: Scenario = {
  ...changing,
  faults: alone(({ childMoved }) => ({ childMoved: !childMoved }), 'the child moves'),
};

/** A node in the middle of all paths goes, and comes back. */
export const deletedNodes: Scenario = {
  ...changing,
  faults: alone(
    ({ groupConcurrency }, random) => ({ groupConcurrency: groupConcurrency === null ? random.int(1, 3) : null }),
    'the group comes or goes',
  ),
};

export const observing: Scenario = {
  ...changing,
  shape: (random) => ({ ...anyShape(random), teamConcurrency: 1, teamObserves: random.chance(0.5) }),
  faults: alone(({ teamObserves }) => ({ teamObserves: !teamObserves }), 'the team is enforced or observed'),
};

export const freezes: Scenario = {
  ...changing,
  faults: (random) =>
    several(random, 1, 4, () =>
      faults.freeze(moment(random, 1000, 20_000), random.pick(['account', 'quota:a/team', 'model:glm-5.3'])),
    ),
};

/** All of it, with pods that stop and an operator that is away. */
export const upheavals: Scenario = {
  ...changing,
  faults: (random, sidecars) => [
    ...changes(random, LIMITS, 'limits are changed'),
    ...changes(random, ({ childMoved }) => ({ childMoved: !childMoved }), 'the child moves'),
    ...several(random, 0, 2, () => faults.operatorAway(moment(random, 2000, 20_000))),
    ...several(random, 0, 2, () => faults.crash(moment(random, 200, 20_000), random.int(0, sidecars - 1), false)),
    ...several(random, 0, 2, () => faults.restart(moment(random, 50, 5000), 0)),
  ],
};

/** The vendor's limit is nowhere written down, and changes. */
export const hiddenLimits: Scenario = {
  sidecars: 3,
  shape: (random) => ({ ...roomyShape(random), concurrency: 6, modelConcurrency: null, adaptive: true }),
  hidden: (random) => ({ concurrency: random.int(1, 4), lagMs: random.pick([0, 0, 300, 600]) }),
  habits: () => ({ thinkMs: 400, callMs: 1200 }),
  faults: (random) =>
    several(random, 0, 2, () => faults.vendorChanges(instant(random), random.int(1, 4), random.pick([0, 0, 300, 600]))),
  promises: { timesLimit: 1, refused: { percent: 5, learning: 8 } },
};
