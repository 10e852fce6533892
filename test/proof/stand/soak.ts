/** What the soak is made of: a deep tree with a squad for each sidecar, calls of every kind, and faults that cost no slot. */
import { limit, node } from '#test/support/engine.ts';
import type { SidecarSnapshot } from '#sidecar/control/terms.ts';
import type { TreeConfig } from '#sidecar/engine/tree-terms.ts';
import type { CallOptions } from './load.ts';
import { passed } from './passed.ts';
import type { Stand } from './stand.ts';
import type { SingleStore } from './stores.ts';
import { treeWith } from './tree.ts';

export const ACCOUNT_SLOTS = 6;
export const WINDOW_MS = 20_000;
/** Few enough to be used up within a window of the short form, on a machine that is half as fast as it should be. */
export const WINDOW_PROMPTS = 70;

interface Squad {
  readonly team: 'a' | 'b';
  readonly slots: number | null;
}

/** By the number of the sidecar bound to it. */
export const SQUADS: readonly Squad[] = [
  { team: 'a', slots: 3 },
  { team: 'a', slots: null },
  { team: 'b', slots: null },
  { team: 'b', slots: 2 },
];
export const TEAM_SLOTS = { a: 4, b: 3 } as const;
export const MODEL_SLOTS = { 'glm-5.3': 5, 'glm-5.3-flash': 4 } as const;
export type Model = keyof typeof MODEL_SLOTS;

const ORG = 'quota:glm/org';
const teamNode = (team: Squad['team']): string => `quota:glm/team-${team}`;
const squadNode = (index: number): string => `quota:glm/squad-${index}`;

export function soakTree(accountSlots: number): TreeConfig {
  const short = { resource: 'Prompts', window: { type: 'Anchored', durationMs: WINDOW_MS } } as const;
  const long = { window: { type: 'Anchored', durationMs: 5 * 3_600_000 } } as const;
  const limits = [limit('short', WINDOW_PROMPTS, short), limit('five-hour', 1_000_000, long)];
  return {
    ...treeWith(null),
    nodes: [
      node('account', null, { concurrency: accountSlots, limits }),
      ...Object.entries(MODEL_SLOTS).map(([model, concurrency]) => node(`model:${model}`, 'account', { concurrency })),
      node('model:other', 'account'),
      node(ORG, 'account', { rate: { intervalUs: 20_000, burst: 20 } }),
      ...(['a', 'b'] as const).map((team) => node(teamNode(team), ORG, { concurrency: TEAM_SLOTS[team] })),
      ...SQUADS.map(({ team, slots }, index) => node(squadNode(index), teamNode(team), { concurrency: slots })),
    ],
  };
}

export function bindingOf(index: number): Partial<SidecarSnapshot['binding']> {
  const squad = squadNode(index);
  return {
    quota: squad.replace('quota:', ''),
    leaf: squad,
    path: [squad, teamNode(SQUADS[index]?.team ?? 'a'), ORG, 'account'],
  };
}

/** Short and long, plain and streamed, of two models and three classes; some callers leave in the middle. */
export function anyCall(): CallOptions {
  const model = pick<Model>(['glm-5.3', 'glm-5.3', 'glm-5.3-flash']);
  const headers = { 'x-glmquota-priority': pick(['Low', 'Normal', 'High']) };
  const kind = Math.random();
  const ms = Math.round(100 + 300 * Math.random());
  if (kind < 0.6) return { model, headers, text: `[[sim ms=${ms}]]` };
  if (kind < 0.9) return { model, headers, text: `[[sim ms=${4 * ms} tokens=40]]`, stream: true };
  const signal = AbortSignal.timeout(2 * ms);
  return { model, headers, text: '[[sim ms=3000 tokens=40]]', stream: true, signal };
}

function pick<T>(of: readonly T[]): T {
  return of[Math.floor(Math.random() * of.length)]!;
}

export interface SoakFault {
  readonly name: string;
  /** `victim`: a sidecar other than the first. */
  run(stand: Stand<SingleStore>, victim: number): Promise<void>;
}

/** All shorter than a lease lives: none of them may cost a slot or a charge. */
const SHORT_MS = 4000;

export const FAULTS: readonly SoakFault[] = [
  {
    name: 'sidecar stops',
    run: async ({ sidecars }, victim) => {
      sidecars[victim]?.pause();
      await passed(SHORT_MS);
      sidecars[victim]?.resume();
    },
  },
  {
    name: 'Redis stops',
    run: async ({ store }) => {
      store.server.pause();
      await passed(SHORT_MS);
      store.server.resume();
    },
  },
  {
    name: 'c = 2',
    run: async ({ operator }) => {
      await operator.configure(soakTree(2));
      await passed(SHORT_MS);
      await operator.configure(soakTree(ACCOUNT_SLOTS));
    },
  },
  {
    name: 'sidecar cut off',
    run: async ({ store }, victim) => {
      store.link(victim).cut();
      await passed(SHORT_MS);
      store.link(victim).mend();
    },
  },
  { name: 'vendor hangs up', run: async ({ control }) => control.dropConnections() },
  {
    name: 'Redis killed',
    run: async ({ store }) => {
      await store.server.kill();
      await store.server.restart();
    },
  },
  {
    name: 'sidecar killed',
    run: async (stand, victim) => {
      await stand.sidecars[victim]?.kill();
      await stand.start(victim);
    },
  },
];
