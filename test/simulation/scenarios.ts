/** What happens to pods, their network and their clocks: one class of faults each, with what it promises. */
import * as faults from './faults.ts';
import type { Random } from './random.ts';
import type { Scenario } from './run.ts';
import { anyShape, instant, moment, roomyShape, several } from './shapes.ts';

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

/** Nobody sets clocks far, but nobody keeps them together either. */
export const skew: Scenario = {
  sidecars: 3,
  shape: anyShape,
  faults: (random, sidecars) =>
    several(random, 3, 9, () => {
      const whose = random.chance(0.4) ? 'redis' : someone(random, sidecars);
      return faults.step(instant(random), whose, random.pick([-1, 1]) * random.pick([20, 300, 1500]));
    }),
  promises: { timesLimit: 1 },
};

/** Somebody sets a clock by an hour, or by more or less of a window. */
export const clockSteps: Scenario = {
  sidecars: 3,
  shape: anyShape,
  faults: (random, sidecars) =>
    several(random, 1, 4, () => {
      const whose = random.chance(0.6) ? 'redis' : someone(random, sidecars);
      const byMs = random.pick([-1, 1]) * random.pick([6000, 40_000, 3_600_000]);
      // A second step within the time that a first one gives to holders is more than is promised.
      return faults.step({ ...instant(random), lastsMs: 15_000 }, whose, byMs);
    }),
  promises: { timesLimit: 1 },
};

/** Redis answers nobody at some pods, and their quotas let them go on with a share for a while. */
export const localShares: Scenario = {
  sidecars: 3,
  shape: roomyShape,
  binding: { onStoreFailure: { policy: 'LocalShare', localSharePercent: 50, maxDurationMs: 30_000 } },
  faults: (random, sidecars) =>
    several(random, 1, 3, () =>
      random.chance(0.5)
        ? faults.stall(moment(random, 2000, 30_000))
        : faults.cut(moment(random, 2000, 40_000), someone(random, sidecars), ['up', 'down']),
    ),
  promises: { timesLimit: 2, localStarts: 3 },
};
