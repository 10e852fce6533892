/** Short words for tests of the waiting room. */
import { expect } from 'vitest';
import type { Notice } from '#sidecar/engine/port.ts';
import type { Grant, Verdict } from '#sidecar/engine/terms.ts';
import { node, type request } from '#test/support/engine.ts';
import type { Rules } from './fixture.ts';

export const models = [
  node('model:glm-5.3', 'account'),
  node('model:glm-4', 'account'),
  node('model:other', 'account'),
] as const;
export const WAIT = { mode: 'UntilWindow', maxWaitMs: 60_000 } as const;

type Rest = Parameters<typeof request>[1];

export interface Waiting {
  readonly id: string;
  readonly owner: string;
}

export interface WaitingRoom {
  readonly wait: (id: string, rest?: Rest) => Promise<Verdict>;
  /** Fails the test unless it has to wait. */
  readonly queue: (id: string, rest?: Rest) => Promise<void>;
  /** What became of the named waiters, by a beat of their owner. */
  readonly fates: (owner: string, ...waiters: string[]) => Promise<ReadonlyMap<string, Notice>>;
  /** The grant of a waiter that was served. */
  readonly served: (id: string, owner?: string) => Promise<Grant>;
  /** Serves one slot again and again; returns who had it, in order. */
  readonly serveAll: (first: Grant, waiting: readonly Waiting[]) => Promise<readonly string[]>;
}

export function useWaitingRoom(rules: Rules): WaitingRoom {
  const fates: WaitingRoom['fates'] = async (owner, ...waiters) => {
    const beat = await rules.engine.sidecar.beat({ owner, epoch: null, leases: [], waiters });
    if (beat.kind !== 'alive') throw new Error(`a beat was answered ${beat.kind}`);
    return new Map(beat.notices.map((notice) => [notice.id, notice]));
  };
  /** Grants of all who wait, whoever owns them. */
  const grants = async (waiting: readonly Waiting[]): Promise<readonly Grant[]> => {
    const found: Grant[] = [];
    for (const owner of new Set(waiting.map((each) => each.owner))) {
      const ids = waiting.filter((each) => each.owner === owner).map(({ id }) => id);
      for (const fate of (await fates(owner, ...ids)).values()) {
        if (fate.kind !== 'granted') throw new Error(`${fate.id} was denied`);
        found.push(fate.grant);
      }
    }
    return found;
  };
  const wait: WaitingRoom['wait'] = async (id, rest = {}) => rules.acquire(id, { wait: WAIT, ...rest });
  return {
    wait,
    fates,
    queue: async (id, rest) => expect(await wait(id, rest)).toMatchObject({ kind: 'queued', id }),
    served: async (id, owner = 'pod-1') => {
      const fate = (await fates(owner, id)).get(id);
      if (fate?.kind !== 'granted') throw new Error(`${id} was not granted: ${JSON.stringify(fate)}`);
      return fate.grant;
    },
    serveAll: async (first, waiting) => {
      const order: string[] = [];
      let holder = first;
      for (const _ of waiting) {
        await rules.settle(holder);
        for (const grant of await grants(waiting.filter(({ id }) => !order.includes(id)))) {
          order.push(grant.id);
          holder = grant;
        }
      }
      return order;
    },
  };
}
