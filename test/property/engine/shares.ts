/** What the fairness tests share: trees by weight, streams of calls, and how far what they got is from fair. */
import fc from 'fast-check';
import type { NodeConfig } from '#sidecar/engine/tree-terms.ts';
import { node } from '#test/support/engine.ts';
import { tally, type Stream } from './backlog.ts';

export const GRANTS = 2200;
/** Which call in flight ends next, each time: as random as the seed, and small to print. */
export const ends = fc.nat({ max: 2 ** 31 - 1 }).map((seed) => {
  let state = seed;
  return Array.from({ length: GRANTS }, () => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return state >>> 16;
  });
});
export const slots = fc.integer({ min: 1, max: 4 });
export const WEIGHTS = { heavy: 8, middle: 2, light: 1 } as const;

export const of = (name: string, parent: string, rest: Partial<NodeConfig> = {}): NodeConfig =>
  node(`quota:a/${name}`, parent, rest);
export const from = (name: string, call: Stream['call'] = {}): Stream => ({
  name,
  call: { leaf: `quota:a/${name}`, owner: `pod-${name}/1`, ...call },
});
export const weighted = (parent: string): readonly NodeConfig[] =>
  Object.entries(WEIGHTS).map(([name, weight]) => of(name, parent, { weight }));
export const streams = Object.keys(WEIGHTS).map((name) => from(name));

/** The worst relative error of what the named streams got, against shares that are to each other as `weights`. */
export function shareError(granted: readonly string[], weights: Readonly<Record<string, number>>): number {
  const counts = tally(granted.filter((name) => name in weights));
  const sum = (all: readonly number[]): number => all.reduce((a, b) => a + b, 0);
  const served = sum([...counts.values()]);
  const whole = sum(Object.values(weights));
  const errors = Object.entries(weights).map(([name, weight]) => {
    const fair = (served * weight) / whole;
    return Math.abs((counts.get(name) ?? 0) - fair) / fair;
  });
  return Math.max(...errors);
}
