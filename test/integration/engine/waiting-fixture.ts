/** Short words for tests in which calls wait. */
import { expect } from 'vitest';
import type { Notice } from '#sidecar/engine/port.ts';
import type { AcquireRequest, Grant, Verdict } from '#sidecar/engine/terms.ts';
import { node } from '#test/support/engine.ts';
import type { Rules } from './fixture.ts';

type Rest = Partial<AcquireRequest>;

export const MODELS = ['glm-5.3', 'glm-4', 'other'].map((model) => node(`model:${model}`, 'account'));
export const WAIT = { mode: 'UntilWindow', maxWaitMs: 60_000 } as const;
export const SLOT = { mode: 'UntilSlot', maxWaitMs: 60_000 } as const;
export const ref = ({ id, fence, epoch }: Grant) => ({ id, fence, epoch });

export interface Waiting {
  wait(id: string, rest?: Rest): Promise<Verdict>;
  /** Fails the test unless it has to wait. */
  queue(id: string, rest?: Rest): Promise<void>;
  beat(
    owner: string,
    all?: { readonly leases?: readonly Grant[]; readonly waiters?: readonly string[] },
  ): Promise<{ readonly lost: readonly string[]; readonly notices: readonly Notice[] }>;
  /** Fails the test unless this waiter was granted. */
  served(id: string, owner?: string): Promise<Grant>;
  /** Fails the test unless this waiter still waits. */
  stillWaits(id: string, owner?: string): Promise<void>;
  /** Time passes in steps that are no gap, while the named owners beat for what they have. */
  pass(ms: number, alive?: Readonly<Record<string, Parameters<Waiting['beat']>[1]>>): Promise<void>;
}

export function useWaiting(rules: Rules): Waiting {
  const beat: Waiting['beat'] = async (owner, { leases = [], waiters = [] } = {}) => {
    const reply = await rules.engine.sidecar.beat({ owner, epoch: null, leases: leases.map(ref), waiters });
    if (reply.kind !== 'alive') throw new Error(`a beat was answered ${reply.kind}`);
    return reply;
  };
  const wait: Waiting['wait'] = (id, rest) => rules.acquire(id, { wait: WAIT, ...rest });
  return {
    beat,
    wait,
    queue: async (id, rest) => expect(await wait(id, rest)).toMatchObject({ kind: 'queued', id }),
    served: async (id, owner = 'pod-1') => {
      const [notice] = (await beat(owner, { waiters: [id] })).notices;
      if (notice?.kind !== 'granted') throw new Error(`${id} was not granted: ${JSON.stringify(notice)}`);
      return notice.grant;
    },
    stillWaits: async (id, owner = 'pod-1') =>
      expect(await beat(owner, { waiters: [id] })).toMatchObject({ lost: [], notices: [] }),
    pass: async (ms, alive = {}) => {
      for (let left = ms; left > 0; left -= 5000) {
        await rules.engine.advance(Math.min(left, 5000));
        await rules.engine.sidecar.cancel('somebody else asks');
        for (const [owner, all] of Object.entries(alive)) await beat(owner, all);
      }
    },
  };
}
