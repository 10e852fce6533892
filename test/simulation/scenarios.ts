/** One class of faults each, with what it promises: the tables of what the engine guarantees, row by row. */
import * as faults from './faults.ts';
import type { Random } from './random.ts';
import type { Scenario } from './run.ts';
import { anyShape, moment, roomyShape, several } from './shapes.ts';

const someone = (random: Random, sidecars: number): number => random.int(0, sidecars - 1);

export const undisturbed: Scenario = {
  sidecars: 3,
  shape: anyShape,
  faults: () => [],
  promises: { timesLimit: 1 },
};

export const lossyNetwork: Scenario = {
  sidecars: 3,
  shape: anyShape,
  faults: (random, sidecars) =>
    several(random, 2, 6, () => {
      const weather = {
        drop: random.pick([0, 0.02, 0.09, 0.3]),
        double: random.between(0, 0.3),
        late: random.between(0, 0.5),
        lateByMs: random.pick([50, 1000, 6000]),
      };
      return faults.noise(moment(random, 1000, 30_000), someone(random, sidecars), weather);
    }),
  promises: { timesLimit: 2 },
};

export const crashes: Scenario = {
  sidecars: 4,
  shape: anyShape,
  faults: (random, sidecars) =>
    several(random, 1, 6, () =>
      faults.crash(moment(random, 200, 20_000), someone(random, sidecars), random.chance(0.3)),
    ),
  promises: { timesLimit: 1 },
};

export const shortStops: Scenario = {
  sidecars: 3,
  shape: anyShape,
  faults: (random, sidecars) =>
    several(random, 2, 8, () => faults.pause(moment(random, 100, 3900), someone(random, sidecars), 'stopped')),
  promises: { timesLimit: 1 },
};

export const longStops: Scenario = {
  sidecars: 3,
  shape: anyShape,
  faults: (random, sidecars) =>
    several(random, 1, 4, () =>
      faults.pause(moment(random, 4000, 40_000), someone(random, sidecars), random.chance(0.3) ? 'asleep' : 'stopped'),
    ),
  promises: { timesLimit: 2 },
};

export const stalls: Scenario = {
  sidecars: 3,
  shape: anyShape,
  faults: (random) => several(random, 1, 4, () => faults.stall(moment(random, 200, 40_000))),
  promises: { timesLimit: 1 },
};

export const restarts: Scenario = {
  sidecars: 3,
  shape: anyShape,
  faults: (random) => several(random, 1, 4, () => faults.restart(moment(random, 50, 8000), 0)),
  promises: { timesLimit: 1 },
};

export const cutOffs: Scenario = {
  sidecars: 4,
  shape: anyShape,
  faults: (random, sidecars) =>
    several(random, 1, 5, () =>
      faults.cut(
        moment(random, 500, 50_000),
        someone(random, sidecars),
        random.pick([['up', 'down'], ['up'], ['down']] as const),
      ),
    ),
  promises: { timesLimit: 2 },
};

export const lossyFailOver: Scenario = {
  sidecars: 3,
  shape: roomyShape,
  faults: (random) =>
    several(random, 1, 2, () => {
      const lagMs = random.pick([1, 200, 1000, 5000]);
      const when = moment(random, 500, 8000);
      return faults.failOver({ ...when, lastsMs: when.lastsMs + lagMs }, { lagMs, silent: random.chance(0.4) });
    }),
  promises: { timesLimit: 1, forgets: true },
};
