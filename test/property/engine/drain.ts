/** The end of a history: everything that keeps calls out goes, time passes, and nobody may be left. */
import { deepEqual, ok } from 'node:assert/strict';
import { opened } from './shapes.ts';
import { NODES, OWNERS, PROCESSES, type Settling } from './steps.ts';
import type { Twin } from './twin.ts';

/** More than all that waits needs, at most 5 s each. */
const MOST_TICKS = 400;
const DONE: Settling = {
  call: 0,
  outcome: 'completed',
  tokens: 0,
  sentAfterMs: 0,
  firstByteAfterMs: 0,
  off: 0,
  holdMs: 0,
  frozenForMs: null,
};

/** inv-L1, inv-L4 Every waiter whose owner beats is granted or denied within bounded time, and then nothing is taken. */
export async function drain(twin: Twin): Promise<void> {
  if (!twin.shape) return;
  const { tree } = twin.model;
  for (const process of PROCESSES.keys()) await twin.step({ do: 'drain', process, on: false });
  for (const node of NODES.keys()) await twin.step({ do: 'freeze', node, forMs: null });
  await twin.step({ do: 'configure', shape: opened(twin.shape), leader: 1, lost: false });
  await registerAll(twin);
  const waiting = new Set(tree.room.waiters.map(({ request }) => request.id));
  for (let ticks = 0; tree.room.waiters.length > 0; ticks += 1) {
    ok(ticks < MOST_TICKS, `still waiting: ${tree.room.waiters.map(({ request }) => request.id).join()}`);
    await settleAll(twin, waiting);
    const { serverNowMs, nextTickMs } = await twin.tick();
    for (const id of tree.room.outcomes.keys()) waiting.delete(id);
    await twin.step({ do: 'advance', ms: Math.max(1, Math.min(5000, (nextTickMs ?? Infinity) - serverNowMs)) });
  }
  await settleAll(twin, waiting);
  deepEqual([...waiting], [], 'left the queue without a word');
  await twin.step({ do: 'advance', ms: 2000 });
  await twin.tick();
  await twin.compare();
  deepEqual(tree.leases.live, []);
  deepEqual(tree.leases.holds, []);
}

/** Owners beat for all they have, and their calls end. What became of `waiting` is noted. */
async function settleAll(twin: Twin, waiting: Set<string>): Promise<void> {
  const { tree } = twin.model;
  const note = (): void => {
    for (const id of tree.room.outcomes.keys()) waiting.delete(id);
  };
  for (const owner of OWNERS.keys()) {
    await twin.step({ do: 'beat', owner, skip: 0 });
    note();
  }
  // Every end lets others in.
  for (let rounds = 0; tree.leases.live.length > 0; rounds += 1) {
    ok(rounds < 200, 'leases that cannot be settled');
    const { live } = tree.leases;
    for (const { request } of live) {
      await twin.step({ do: 'settle', all: [{ ...DONE, call: twin.callers.indexOf(request.id) }] });
      note();
    }
    // A settlement of an epoch that is over changes nothing.
    if (live.some((lease) => tree.leases.live.includes(lease))) await registerAll(twin);
  }
}

async function registerAll(twin: Twin): Promise<void> {
  for (const owner of OWNERS.keys()) await twin.step({ do: 'register', owner, skip: 0, sent: true, disclaim: false });
}
