/** More words for tests of the waiting room: who is alive, and who still waits. */
import { expect } from 'vitest';
import type { BeatReply } from '#sidecar/engine/port.ts';
import type { Grant } from '#sidecar/engine/terms.ts';
import type { Rules } from './fixture.ts';

export const SLOT = { mode: 'UntilSlot', maxWaitMs: 60_000 } as const;
export const ref = ({ id, fence, epoch }: Grant) => ({ id, fence, epoch });

/** What an owner beats for. */
interface Alive {
  readonly leases?: readonly Grant[];
  readonly waiters?: readonly string[];
}

export interface Owners {
  /** Fails the test unless it is answered `alive`. */
  readonly beat: (owner: string, all?: Alive) => Promise<BeatReply & { readonly kind: 'alive' }>;
  /** Fails the test unless this waiter still waits. */
  readonly stillWaits: (id: string, owner?: string) => Promise<void>;
  /** Time passes in steps that are no gap, while the named owners beat. */
  readonly pass: (ms: number, alive?: Readonly<Record<string, Alive>>) => Promise<void>;
}

export function useOwners(rules: Rules): Owners {
  const beat: Owners['beat'] = async (owner, { leases = [], waiters = [] } = {}) => {
    const reply = await rules.engine.sidecar.beat({ owner, epoch: null, leases: leases.map(ref), waiters });
    if (reply.kind !== 'alive') throw new Error(`a beat was answered ${reply.kind}`);
    return reply;
  };
  return {
    beat,
    stillWaits: async (id, owner = 'pod-1') =>
      expect(await beat(owner, { waiters: [id] })).toMatchObject({ lost: [], notices: [], waiting: [{ id }] }),
    pass: async (ms, alive = {}) => {
      for (let left = ms; left > 0; left -= 5000) {
        await rules.engine.advance(Math.min(left, 5000));
        await rules.engine.sidecar.cancel('somebody else asks');
        for (const [owner, all] of Object.entries(alive)) await beat(owner, all);
      }
    },
  };
}
