import { expect, test } from 'vitest';
import { systemClock } from '#sidecar/base/clock.ts';
import { followLedger, ledgerKey, type Delivered } from '#sidecar/engine/ledger/read.ts';
import { node, request, settlement, TREE_KEY } from '#test/support/engine.ts';
import { useLedger } from './ledger-fixture.ts';

const BUDGET_BYTES = 40_000;
const ledger = useLedger({ LEDGER_BYTES: BUDGET_BYTES });
const OPEN = [node('account', null), node('model:other', 'account')];

/** Calls that come and go, each with two entries. */
async function work(calls: number, name: string): Promise<void> {
  const { sidecar } = ledger.engine;
  for (let index = 0; index < calls; index += 1) {
    const verdict = await sidecar.acquire(request(`${name}-${index}`));
    if (verdict.kind !== 'granted') throw new Error(`${name}-${index} was answered ${verdict.kind}`);
    await sidecar.settle([settlement(verdict.id, verdict.fence)]);
  }
}

/** What a member of a group is given until the entry of that number, or nothing more comes. */
async function taken(group: string, consumer: string, until: number, isDone = true): Promise<readonly Delivered[]> {
  const stop = new AbortController();
  const idle = { ...systemClock, sleep: async () => stop.abort() };
  const all: Delivered[] = [];
  for await (const each of followLedger(ledger.engine.redis, TREE_KEY, { group, consumer, clock: idle }, stop.signal)) {
    all.push(each);
    if (isDone) await each.done();
    if (each.entry.seq === until) break;
  }
  return all;
}

const numbers = (delivered: readonly Delivered[]): readonly number[] => delivered.map(({ entry }) => entry.seq);

test('L1 the oldest entries go when the ledger is over its budget, and calls go on', async () => {
  await ledger.engine.configure(OPEN);
  await work(600, 'call');
  const entries = await ledger.entries();
  expect(entries[0]?.seq).toBeGreaterThan(600);
  expect(entries.at(-1)?.seq).toBe(1202);
  const bytes = Number(await ledger.engine.redis.memory('USAGE', ledgerKey(TREE_KEY), 'SAMPLES', 0));
  expect(bytes).toBeGreaterThan(BUDGET_BYTES / 2);
  expect(bytes).toBeLessThan(2 * BUDGET_BYTES);
  expect(await ledger.all('gap')).toEqual([]);
});

test('L1 what is trimmed before a consumer group has read it is named by markers, for that group', async () => {
  await ledger.engine.configure(OPEN);
  expect(numbers(await taken('slow', 'one', 2))).toEqual([1, 2]);
  for (let round = 0; round < 12; round += 1) {
    await work(50, `round-${round}`);
    await taken('fast', 'one', Infinity);
  }
  const [next] = await taken('slow', 'one', Infinity, false);
  const gaps = await ledger.all('gap');
  expect(new Set(gaps.map(({ group }) => group))).toEqual(new Set(['slow']));
  expect(gaps.at(-1)).toMatchObject({ why: 'trimmed', firstSeq: 3, lastSeq: (next?.entry.seq ?? 0) - 1 });
});

test('L1 a consumer that begins anew gets again what it was not done with, and no other gets it', async () => {
  await ledger.engine.configure(OPEN);
  await work(3, 'call');
  expect(numbers(await taken('bills', 'one', 4, false))).toEqual([1, 2, 3, 4]);
  // A page was delivered to it, whatever it took of that.
  expect(numbers(await taken('bills', 'two', Infinity))).toEqual([]);
  expect(numbers(await taken('bills', 'one', 4))).toEqual([1, 2, 3, 4]);
  await work(1, 'more');
  expect(numbers(await taken('bills', 'one', Infinity))).toEqual([5, 6, 7, 8, 9, 10]);
  expect(numbers(await taken('bills', 'one', Infinity))).toEqual([]);
});

test('F1 L1 when memory is full endings go on without entries, and a marker and a checkpoint follow', async () => {
  const { engine } = ledger;
  await engine.configure(OPEN);
  const verdict = await engine.sidecar.acquire(request('a'));
  if (verdict.kind !== 'granted') throw new Error('not granted');
  const before = (await ledger.entries()).length;
  await engine.advance(1000);
  await engine.redis.config('SET', 'maxmemory', '1mb');
  await engine.sidecar.beat({ owner: 'pod-1', epoch: null, leases: [verdict], waiters: [] });
  await engine.sidecar.settle([settlement('a', verdict.fence)]);
  expect(await ledger.entries()).toHaveLength(before);
  await expect(engine.sidecar.acquire(request('b'))).rejects.toThrow('out of memory');
  await engine.redis.config('SET', 'maxmemory', '0');
  await engine.sidecar.cancel('still-the-same-second');
  expect(await ledger.entries()).toHaveLength(before);
  await engine.advance(1000);
  await engine.sidecar.acquire(request('c'));
  await engine.sidecar.tick();
  const rest = (await ledger.entries()).slice(before);
  expect(rest[0]).toMatchObject({ kind: 'gap', why: 'memory', firstSeq: before + 1, lastSeq: before + 3, group: null });
  expect(rest[0]?.seq).toBe(before + 4);
  expect(new Set(rest.slice(2, -1).map(({ kind }) => kind))).toEqual(new Set(['state']));
  const { replay, differences } = await ledger.replay();
  expect(differences).toEqual([]);
  expect(replay.counts).toMatchObject({ checked: 3, skipped: 1, gaps: 1 });
});

test('L1 a ledger that cannot be written keeps no call from its verdict', async () => {
  const { engine } = ledger;
  await engine.configure(OPEN);
  await engine.redis.set(ledgerKey(TREE_KEY), 'spoilt');
  expect((await engine.sidecar.acquire(request('a'))).kind).toBe('granted');
  expect((await engine.sidecar.acquire(request('b'))).kind).toBe('granted');
  await engine.redis.del(ledgerKey(TREE_KEY));
  await engine.advance(1000);
  await engine.sidecar.tick();
  expect(await ledger.all('gap')).toMatchObject([{ why: 'memory', firstSeq: 3 }]);
  expect((await engine.admin.audit(TREE_KEY)).drifts).toEqual([]);
});

test('L1 a replay of what is left begins at the next checkpoint', async () => {
  await ledger.engine.configure(OPEN);
  await work(600, 'call');
  const early = await ledger.replay();
  expect(early.replay.counts).toMatchObject({ checked: 0 });
  expect(early.replay.counts.skipped).toBeGreaterThan(0);
  await ledger.engine.advance(3_600_000);
  await work(10, 'later');
  const { replay, differences } = await ledger.replay();
  expect(differences).toEqual([]);
  expect(replay.counts.checked).toBe(19);
});
