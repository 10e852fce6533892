import { expect, test } from 'vitest';
import { historyOf } from '#sidecar/engine/ledger/history.ts';
import { whatIf, type WhatIf } from '#sidecar/engine/ledger/what-if.ts';
import type { Change } from '#sidecar/engine/ledger/simulation.ts';
import type { AcquireRequest, Verdict } from '#sidecar/engine/terms.ts';
import type { NodeConfig } from '#sidecar/engine/tree-terms.ts';
import { limit, node, request, settlement } from '#test/support/engine.ts';
import { useLedger } from './ledger-fixture.ts';

const ledger = useLedger();

const TREE = [
  node('account', null, { concurrency: 1 }),
  node('model:other', 'account'),
  node('quota:a/team', 'account', {
    limits: [limit('five-hour', 3, { window: { type: 'Anchored', durationMs: 600_000 } })],
  }),
];

const changed =
  (name: string, rest: Partial<NodeConfig>): Change =>
  (tree) => ({ ...tree, nodes: tree.nodes.map((each) => (each.name === name ? { ...each, ...rest } : each)) });

async function under(change: Change): Promise<WhatIf> {
  const history = await historyOf(await ledger.entries());
  if (history === null) throw new Error('no history');
  return whatIf(history, change);
}

const ask = (id: string, rest: Partial<AcquireRequest> = {}): Promise<Verdict> =>
  ledger.engine.sidecar.acquire(
    request(id, { leaf: 'quota:a/team', wait: { mode: 'UntilSlot', maxWaitMs: 60_000 }, ...rest }),
  );

async function settle(id: string, fence: number): Promise<void> {
  await ledger.engine.sidecar.settle([settlement(id, fence)]);
}

/** Four calls of 4 s, a second apart: one slot, so they queue; the window has room for three. */
async function play(): Promise<void> {
  const { engine } = ledger;
  await engine.configure(TREE);
  const verdicts: Verdict[] = [];
  for (const id of ['a', 'b', 'c', 'd']) {
    verdicts.push(await ask(id));
    await engine.advance(1000);
  }
  expect(verdicts.map(({ kind }) => kind)).toEqual(['granted', 'queued', 'queued', 'queued']);
  for (const id of ['a', 'b', 'c']) {
    const again = await ask(id);
    if (again.kind !== 'granted') throw new Error(`${id} was answered ${again.kind}`);
    await settle(id, again.fence);
    await engine.advance(4000);
  }
  await engine.sidecar.tick();
}

test('L1 the same tree changes nothing, and tells what became of every call', async () => {
  await play();
  const { before, after, limits, changed: calls } = await under((tree) => tree);
  expect(after).toEqual(before);
  expect(calls).toEqual([]);
  expect(before).toEqual({ grantedAtOnce: 1, grantedLater: 2, denied: 1, open: 0, waitedMs: 3000 + 6000 + 5000 });
  expect(limits).toEqual([
    { node: 'account', limit: 'slots', denied: { before: 0, after: 0 }, waited: { before: 2, after: 2 } },
    { node: 'quota:a/team', limit: 'five-hour', denied: { before: 1, after: 1 }, waited: { before: 0, after: 0 } },
  ]);
});

test('L1 with more slots nobody had waited, and the window had been used up as soon', async () => {
  await play();
  const { before, after, limits, changed: calls } = await under(changed('account', { concurrency: 4 }));
  expect(after).toEqual({ grantedAtOnce: 3, grantedLater: 0, denied: 1, open: 0, waitedMs: 0 });
  expect(after.denied).toBe(before.denied);
  expect(limits.find(({ limit: name }) => name === 'slots')?.waited).toEqual({ before: 2, after: 0 });
  expect(calls.map(({ id }) => id)).toEqual(['b', 'c']);
});

test('L1 a larger window had granted what was denied, which then runs as long as others did', async () => {
  await play();
  const room = { limits: [limit('five-hour', 50, { window: { type: 'Anchored', durationMs: 600_000 } })] };
  const { after, changed: calls } = await under(changed('quota:a/team', room));
  expect(after).toMatchObject({ grantedAtOnce: 1, grantedLater: 3, denied: 0 });
  expect(calls).toMatchObject([
    { id: 'd', before: { kind: 'denied', limit: 'five-hour' }, after: { kind: 'granted' } },
  ]);
});

test('L1 a smaller window had denied more', async () => {
  await play();
  const room = { limits: [limit('five-hour', 1, { window: { type: 'Anchored', durationMs: 600_000 } })] };
  const { after, changed: calls } = await under(changed('quota:a/team', room));
  expect(after).toMatchObject({ grantedAtOnce: 1, denied: 3 });
  expect(calls.map(({ id }) => id)).toEqual(['b', 'c']);
});

test('L1 denials without entries are told as unknown', async () => {
  await play();
  await ask('x', { wait: { mode: 'Reject', maxWaitMs: 0 } });
  await ledger.engine.advance(1000);
  await ledger.engine.sidecar.tick();
  expect((await under((tree) => tree)).unknown).toBe(1);
});

test('L1 a history may begin at a checkpoint, with the calls that ran then', async () => {
  const { engine } = ledger;
  await play();
  const held = await ask('held', { leaf: 'account' });
  if (held.kind !== 'granted') throw new Error('not granted');
  await engine.advance(3_600_000);
  await engine.sidecar.beat({ owner: 'pod-1', epoch: null, leases: [held], waiters: [] });
  const from = (await ledger.all('state'))[0]?.seq ?? Infinity;
  await ask('next', { leaf: 'account' });
  await engine.advance(2000);
  await settle('held', held.fence);
  await engine.sidecar.tick();
  const history = await historyOf((await ledger.entries()).filter(({ seq }) => seq >= from));
  if (history === null) throw new Error('no history');
  const { before } = whatIf(history, (tree) => tree);
  expect(before).toMatchObject({ grantedAtOnce: 0, grantedLater: 1, waitedMs: 2000 });
});
