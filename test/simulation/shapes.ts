/** Trees and plans of faults that scenarios are made of. */
import { FAULTS_MS } from './run.ts';
import type { Random } from './random.ts';
import type { Shape } from './tree.ts';

/** Slots only, or windows and rates as well: both are needed, since windows hide slots that are lost. */
export function anyShape(random: Random): Shape {
  const concurrency = random.int(1, 4);
  const isRoomy = random.chance(0.5);
  const some = <T>(value: T): T | null => (!isRoomy && random.chance(0.6) ? value : null);
  const windowAmount = some(random.int(8, 30));
  return {
    concurrency,
    modelConcurrency: random.chance(0.4) ? random.int(1, concurrency) : null,
    teamConcurrency: random.chance(0.4) ? random.int(1, concurrency) : null,
    adaptive: false,
    windowAmount,
    teamAmount: windowAmount !== null && random.chance(0.5) ? random.int(3, windowAmount) : null,
    slidingAmount: some(random.int(4, 12)),
    intervalMs: some(random.int(200, 1500)),
    groupConcurrency: null,
    teamObserves: false,
    childMoved: random.chance(0.3),
  };
}

/** Slots only. */
export function roomyShape(random: Random): Shape {
  const shape = anyShape(random);
  return { ...shape, windowAmount: null, teamAmount: null, slidingAmount: null, intervalMs: null };
}

export interface Moment {
  readonly atMs: number;
  readonly lastsMs: number;
}

/** A moment in the time of faults, and how long a fault of it lasts: short ones are as likely as long ones. */
export function moment(random: Random, leastMs: number, mostMs: number): Moment {
  const lastsMs = leastMs === 0 ? 0 : leastMs * (mostMs / leastMs) ** random.unit();
  return { atMs: random.between(FAULTS_MS.from, FAULTS_MS.to), lastsMs };
}

/** Something that is done once and for all. */
export function instant(random: Random): Moment {
  return moment(random, 0, 0);
}

export function several<T>(random: Random, least: number, most: number, make: (index: number) => T): readonly T[] {
  return Array.from({ length: random.int(least, most) }, (_, index) => make(index));
}
