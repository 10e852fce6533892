/** What the parts of the engine's bench share. */
import type { RedisClient } from '#sidecar/engine/topology.ts';
import type { World } from '../world.ts';

export interface Section {
  readonly world: World;
  readonly log: (line: string) => void;
  /** Small sizes: to see that it runs, not to quote. */
  readonly quick: boolean;
}

export function quantile(values: readonly number[], part: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN;
}

/** 1: all have the same; 1/n: one has everything. */
export function jain(shares: readonly number[]): number {
  const sum = shares.reduce((total, each) => total + each, 0);
  const squares = shares.reduce((total, each) => total + each * each, 0);
  return sum ** 2 / (shares.length * squares);
}

export interface ScriptStats {
  readonly calls: number;
  /** Time the server spent in them. */
  readonly usec: number;
}

/** Functions and scripts the server has run so far, by its own count. */
export async function scriptStats(redis: RedisClient): Promise<ScriptStats> {
  const text = await redis.info('commandstats');
  let [calls, usec] = [0, 0];
  for (const found of text.matchAll(/^cmdstat_(?:fcall|evalsha|eval):calls=(\d+),usec=(\d+)/gm)) {
    calls += Number(found[1]);
    usec += Number(found[2]);
  }
  return { calls, usec };
}
