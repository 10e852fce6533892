/** Guards of the ledger (L1), each found missing a test by `test/proof/mutation`. */
import { expect, test } from 'vitest';
import type { Grant } from '#sidecar/engine/terms.ts';
import { node, request, TREE_KEY } from '#test/support/engine.ts';
import { useLedger } from './ledger-fixture.ts';

const ledger = useLedger();
const OPEN = [node('account', null), node('model:other', 'account')];
const HOUR = 3_600_000;

async function granted(id: string): Promise<Grant> {
  const verdict = await ledger.engine.sidecar.acquire(request(id));
  if (verdict.kind !== 'granted') throw new Error(`${id} was answered ${verdict.kind}`);
  return verdict;
}

/** Leases that entries of beats name; null: all of the owner. */
const named = async () =>
  (await ledger.all('call')).flatMap(({ call }) =>
    call.op === 'beat' ? [call.request.leases?.map(({ id }) => id) ?? null] : [],
  );

const beat = async (...leases: readonly Grant[]) =>
  ledger.engine.sidecar.beat({ owner: 'pod-1', epoch: null, leases, waiters: [] });

test('L1 a beat names its leases unless they are all of its owner, each once, and none is lost', async () => {
  await ledger.engine.configure(OPEN);
  const [a, b] = [await granted('a'), await granted('b')];
  await beat(a, b);
  await beat(a);
  await beat(a, a);
  await beat(a, { ...b, fence: b.fence + 1 });
  expect(await named()).toEqual([null, ['a'], ['a', 'a'], ['a', 'b']]);
  expect((await ledger.replay()).differences).toEqual([]);
});

test('L1 the first call of an hour is followed by the whole state, the next one is not', async () => {
  await ledger.engine.configure(OPEN);
  await granted('a');
  await ledger.engine.sidecar.tick();
  expect(await ledger.all('state')).toEqual([]);
  await ledger.engine.advance(HOUR);
  await ledger.engine.sidecar.tick();
  const parts = (await ledger.all('state')).length;
  expect(parts).toBeGreaterThan(0);
  await ledger.engine.sidecar.tick();
  expect(await ledger.all('state')).toHaveLength(parts);
});

test('L1 a replay that begins at a checkpoint knows which ids are done with', async () => {
  const { engine } = ledger;
  await engine.configure(OPEN);
  await engine.sidecar.cancel('a');
  await engine.advance(1000);
  // What came before is as good as trimmed.
  await engine.redis.xtrim(`q:{${TREE_KEY}}:g`, 'MAXLEN', 0);
  await engine.sidecar.cancel('long ago');
  await engine.advance(HOUR);
  await engine.sidecar.cancel('b');
  expect(await engine.sidecar.acquire(request('b'))).toEqual({ kind: 'done' });
  const { replay, differences } = await ledger.replay();
  expect(differences).toEqual([]);
  expect(replay.counts.checked).toBe(1);
});
