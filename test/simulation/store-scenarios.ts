/** What happens to Redis: one class of faults each, with what it promises. */
import type { Habits } from './agent.ts';
import * as faults from './faults.ts';
import type { Random } from './random.ts';
import type { Scenario } from './run.ts';
import { anyShape, instant, moment, roomyShape, several } from './shapes.ts';

/** Long calls: they run on over everything that Redis forgets. */
const habits = (random: Random): Partial<Habits> => (random.chance(0.5) ? { callMs: 15_000, longestMs: 45_000 } : {});

export const stalls: Scenario = {
  sidecars: 3,
  shape: anyShape,
  faults: (random) => several(random, 1, 4, () => faults.stall(moment(random, 200, 40_000))),
  promises: { timesLimit: 1 },
};

export const restarts: Scenario = {
  sidecars: 3,
  shape: anyShape,
  habits,
  faults: (random) => several(random, 1, 4, () => faults.restart(moment(random, 50, 8000), 0)),
  promises: { timesLimit: 1 },
};

export const lossyFailOver: Scenario = {
  sidecars: 3,
  shape: roomyShape,
  habits,
  faults: (random) => several(random, 1, 2, () => failOver(random, [1, 200, 1000, 5000])),
  promises: { timesLimit: 1, forgets: true },
};

/** A file that was written a moment too late. */
export const lostSuffixes: Scenario = {
  sidecars: 3,
  shape: anyShape,
  habits,
  faults: (random) =>
    several(random, 1, 3, () => faults.restart(moment(random, 50, 8000), random.pick([1, 100, 1000, 3000]))),
  promises: { timesLimit: 1, forgets: true },
};

/** Everything is deleted, or there is no file at all: the operator writes the tree anew with what its checkpoint knows. */
export const totalLoss: Scenario = {
  sidecars: 3,
  shape: anyShape,
  habits,
  faults: (random) =>
    several(random, 1, 2, () =>
      random.chance(0.5) ? faults.flush(instant(random)) : faults.restart(moment(random, 50, 8000), Infinity),
    ),
  promises: { timesLimit: 1, forgets: true },
};

/** The network splits: some pods stay with the old master while the others go on with a new one. */
export const splits: Scenario = {
  sidecars: 4,
  shape: anyShape,
  faults: (random, sidecars) => {
    const when = moment(random, 15_000, 45_000);
    const behind = Array.from({ length: sidecars }, (_, index) => index).filter(() => random.chance(0.4));
    return [faults.split(when, behind, random.between(3000, 12_000))];
  },
  promises: { timesLimit: 2, forgets: true },
};

/** Pods are cut off from the old master only, and a replica takes over meanwhile. */
export const cutOffsWithFailOver: Scenario = {
  sidecars: 4,
  shape: anyShape,
  faults: (random, sidecars) => {
    const cuts = several(random, 1, 3, () =>
      faults.cut(moment(random, 2000, 40_000), random.int(0, sidecars - 1), ['up', 'down']),
    );
    return [...cuts, failOver(random, [1, 200, 1000])];
  },
  promises: { timesLimit: 2, forgets: true },
};

export const slotMoves: Scenario = {
  sidecars: 3,
  shape: anyShape,
  faults: (random) => several(random, 1, 4, () => faults.move(moment(random, 50, 3000), random.chance(0.5))),
  promises: { timesLimit: 1 },
};

/** Redis has no memory left, the operator is away, or both. */
export const shortages: Scenario = {
  sidecars: 3,
  shape: anyShape,
  faults: (random) =>
    several(random, 1, 4, () =>
      random.chance(0.5) ? faults.full(moment(random, 500, 20_000)) : faults.operatorAway(moment(random, 2000, 40_000)),
    ),
  promises: { timesLimit: 1 },
};

function failOver(random: Random, lags: readonly number[]): faults.Fault {
  const lagMs = random.pick(lags);
  const when = moment(random, 500, 8000);
  return faults.failOver({ ...when, lastsMs: when.lastsMs + lagMs }, { lagMs, silent: random.chance(0.4) });
}
