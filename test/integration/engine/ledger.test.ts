import { expect, test } from 'vitest';
import { ledgerKey } from '#sidecar/engine/ledger/read.ts';
import type { CallRecord } from '#sidecar/engine/terms.ts';
import { limit, node, request, settlement, START_MS, TREE_KEY } from '#test/support/engine.ts';
import { useLedger } from './ledger-fixture.ts';

const ledger = useLedger();
const ONE_SLOT = [node('account', null, { concurrency: 1 }), node('model:other', 'account')];

const RECORD: CallRecord = {
  requestId: 'req-1',
  user: 'ann',
  surface: 'OpenAI',
  model: 'glm-5.3',
  status: 200,
  latencyMs: 1234,
  firstByteMs: 56,
  attempts: 2,
  isEstimate: false,
  trace: [],
};

test('L1 every call that changes a tree has an entry with its arguments, its reply and the state after it', async () => {
  const { engine } = ledger;
  await engine.configure(ONE_SLOT);
  const call = request('call-1', { epoch: null, attributes: { user: 'ann' }, place: 'here' });
  const granted = await engine.sidecar.acquire(call);
  if (granted.kind !== 'granted') throw new Error('not granted');
  const settling = settlement('call-1', granted.fence, { record: RECORD });
  await engine.sidecar.settle([settling]);
  const [configured, asked, settled] = await ledger.all('call');
  expect(configured?.call).toMatchObject({ op: 'configure', revision: { generation: 1 }, lost: false });
  expect(asked?.call).toEqual({ op: 'acquire', request: call, reply: granted });
  expect(asked).toMatchObject({ epoch: granted.epoch, wallUs: START_MS * 1000, after: { leases: 1, waiting: 0 } });
  expect(settled?.call).toEqual({
    op: 'settle',
    epoch: granted.epoch,
    settlements: [settling],
    reply: [{ kind: 'settled', late: false, overdraft: false }],
  });
  expect(settled?.after).toEqual({ fence: granted.fence, seq: 0, waiting: 0, leases: 0 });
});

test('L1 entries are numbered without holes, from one', async () => {
  const { engine } = ledger;
  await engine.configure(ONE_SLOT);
  for (const id of ['a', 'b', 'c']) await engine.sidecar.cancel(id);
  expect((await ledger.entries()).map(({ seq }) => seq)).toEqual([1, 2, 3, 4, 5]);
});

test('L1 a new memory and a new server begin an epoch that names the last entry before', async () => {
  const { engine } = ledger;
  await engine.configure(ONE_SLOT);
  await engine.restartAs('two');
  await engine.sidecar.tick();
  const epochs = await ledger.all('epoch');
  expect(epochs).toMatchObject([
    { identity: 'one', lastSeq: 0, isEmpty: true },
    { identity: 'two', lastSeq: 2, isEmpty: false },
  ]);
  expect(epochs[1]?.epoch).toBeGreaterThan(epochs[0]?.epoch ?? Infinity);
});

test('L1 looking leaves no entry, nor does an answer that only tells of an epoch, a generation or an older leader', async () => {
  const { engine } = ledger;
  await engine.configure(ONE_SLOT);
  await engine.configure(ONE_SLOT, { transitions: 1 });
  const before = (await ledger.entries()).length;
  await engine.sidecar.snapshot();
  await engine.admin.audit(TREE_KEY);
  expect((await engine.sidecar.acquire(request('a', { epoch: 7 }))).kind).toBe('epoch');
  expect((await engine.sidecar.acquire(request('a', { generation: 99 }))).kind).toBe('stale');
  await expect(engine.configure(ONE_SLOT)).rejects.toThrow('fenced');
  expect(await ledger.entries()).toHaveLength(before);
});

test('L1 a replay stands where the engine does after calls without entries have moved the clocks', async () => {
  const { engine } = ledger;
  await engine.configure(ONE_SLOT);
  await engine.sidecar.acquire(request('a'));
  // Forth and back: logical time keeps what the clock took back.
  await engine.advance(6000);
  expect((await engine.sidecar.acquire(request('b'))).kind).toBe('denied');
  await engine.advance(-4000);
  await engine.sidecar.acquire(request('c', { wait: { mode: 'UntilSlot', maxWaitMs: 9000 } }));
  await engine.advance(9000);
  await engine.sidecar.tick();
  const { replay, differences } = await ledger.replay();
  expect(differences).toEqual([]);
  expect(replay.counts).toMatchObject({ checked: 4, denied: 1 });
});

test('L1 denials of one second that change nothing are counted by node, reason and limit in one entry', async () => {
  const { engine } = ledger;
  await engine.configure([
    node('account', null, { concurrency: 1 }),
    node('model:other', 'account'),
    node('quota:a/team', 'account', { limits: [limit('daily', 0)] }),
  ]);
  await engine.sidecar.acquire(request('a'));
  const before = (await ledger.entries()).length;
  for (const id of ['b', 'c', 'd']) await engine.sidecar.acquire(request(id));
  await engine.sidecar.acquire(request('e', { leaf: 'quota:a/team' }));
  expect(await ledger.entries()).toHaveLength(before);
  await engine.advance(1000);
  await engine.sidecar.tick();
  const [, , , denials, tick] = await ledger.entries();
  expect(denials).toMatchObject({
    kind: 'denials',
    atMs: START_MS,
    denials: [
      { node: 'account', reason: 'Concurrency', limit: 'concurrency', count: 3 },
      { node: 'quota:a/team', reason: 'Window', limit: 'daily', count: 1 },
    ],
  });
  expect(tick).toMatchObject({ kind: 'call', call: { op: 'tick' } });
});

test('L1 denials alone bring the entry of the second before', async () => {
  const { engine } = ledger;
  await engine.configure([node('account', null, { concurrency: 0 }), node('model:other', 'account')]);
  for (let second = 0; second < 3; second += 1) {
    await engine.sidecar.acquire(request(`a-${second}`));
    await engine.sidecar.acquire(request(`b-${second}`));
    await engine.advance(1000);
  }
  const counted = (await ledger.all('denials')).map(({ atMs, denials }) => [atMs - START_MS, denials[0]?.count]);
  expect(counted).toEqual([
    [0, 2],
    [1000, 2],
  ]);
});

test('L1 a denial that teaches an adaptive limit something, or that was to wait, has an entry of its own', async () => {
  const { engine } = ledger;
  const adaptive = { concurrency: 4, adaptive: { min: 1, start: 1 } };
  await engine.configure([node('account', null, adaptive), node('model:other', 'account')]);
  await engine.sidecar.acquire(request('a'));
  await engine.sidecar.acquire(request('first'));
  await engine.sidecar.acquire(request('second'));
  await engine.sidecar.acquire(request('late', { wait: { mode: 'UntilSlot', maxWaitMs: 0 } }));
  const asked = (await ledger.all('call')).flatMap(({ call }) => (call.op === 'acquire' ? [call.request.id] : []));
  expect(asked).toEqual(['a', 'first', 'late']);
});

test('L1 a beat for all leases of an owner does not name them', async () => {
  const { engine } = ledger;
  await engine.configure([node('account', null), node('model:other', 'account')]);
  const granted = await Promise.all(['a', 'b'].map((id) => engine.sidecar.acquire(request(id))));
  const leases = granted.flatMap((each) => (each.kind === 'granted' ? [each] : []));
  await engine.sidecar.beat({ owner: 'pod-1', epoch: null, leases, waiters: [] });
  await engine.sidecar.beat({ owner: 'pod-1', epoch: null, leases: leases.slice(1), waiters: [] });
  const beats = (await ledger.all('call')).flatMap(({ call }) => (call.op === 'beat' ? [call.request.leases] : []));
  expect(beats).toEqual([null, [{ id: 'b', fence: leases[1]?.fence }]]);
});

test('L1 an entry of a call takes less than 400 bytes', async () => {
  const { engine } = ledger;
  await engine.configure([
    node('account', null, { limits: [limit('five-hour', 1000)] }),
    node('model:other', 'account'),
  ]);
  const before = await engine.redis.memory('USAGE', ledgerKey(TREE_KEY), 'SAMPLES', 0);
  const calls = 500;
  for (let index = 0; index < calls; index += 1) {
    const id = `J4kGq5kQ2bZ0wX7h9sT${index}`;
    const owner = '0b4a1c0e-7a5e-4c0b-9a53-3f0f9a3b2c1d/J4kGq5kQ2b';
    const verdict = await engine.sidecar.acquire(
      request(id, { owner, attributes: { user: 'ann', pool: 'reviewers' } }),
    );
    if (verdict.kind === 'granted') await engine.sidecar.settle([settlement(id, verdict.fence, { record: RECORD })]);
  }
  const after = await engine.redis.memory('USAGE', ledgerKey(TREE_KEY), 'SAMPLES', 0);
  const each = (Number(after) - Number(before)) / (2 * calls);
  console.log(`${Math.round(each)} bytes an entry`);
  expect(each).toBeLessThan(400);
});

test('L1 long texts of a record are cut, and no text of a prompt has a place in it', async () => {
  const { engine } = ledger;
  await engine.configure(ONE_SLOT);
  const verdict = await engine.sidecar.acquire(request('a'));
  if (verdict.kind !== 'granted') throw new Error('not granted');
  const long = 'x'.repeat(5000);
  const prompt = { ...RECORD, requestId: long, trace: Array.from({ length: 90 }, () => long), prompt: 'tell me' };
  await engine.sidecar.settle([settlement('a', verdict.fence, { record: prompt })]);
  const [record] = (await ledger.all('call')).flatMap(({ call }) =>
    call.op === 'settle' ? call.settlements.map((each) => each.record) : [],
  );
  expect(record?.requestId).toHaveLength(200);
  expect(record?.trace).toHaveLength(20);
  expect(Object.keys(record ?? {})).toEqual(Object.keys(RECORD));
  expect(JSON.stringify(record)).not.toContain('tell me');
});

test('N5 L1 a calibration is followed by a checkpoint, at which the replay goes on', async () => {
  const { engine } = ledger;
  await engine.configure([node('account', null, { limits: [limit('five-hour', 10)] }), node('model:other', 'account')]);
  await engine.sidecar.acquire(request('a'));
  const reading = { limit: 'five-hour', used: 9, resetAtMs: START_MS + 50_000, pollStartMs: START_MS };
  await engine.admin.calibrate(TREE_KEY, reading);
  expect((await engine.sidecar.acquire(request('b'))).kind).toBe('denied');
  await engine.sidecar.acquire(request('c', { wait: { mode: 'UntilSlot', maxWaitMs: 0 } }));
  const { replay, differences } = await ledger.replay();
  expect(differences).toEqual([]);
  expect(replay.counts).toMatchObject({ checked: 4, skipped: 0 });
});

test('F3 L1 a tree that begins with remembered use begins with a checkpoint', async () => {
  const { engine } = ledger;
  const nodes = [node('account', null, { limits: [limit('five-hour', 3)] }), node('model:other', 'account')];
  const tree = { key: TREE_KEY, account: { namespace: 'glm', name: 'max', uid: 'uid-1' }, nodes };
  const usage = [{ node: 'account', limit: 'five-hour', used: 2, anchorMs: START_MS - 1000 }];
  const revision = { leaseCreatedMs: START_MS, transitions: 0, generation: 1 };
  await engine.admin.configure(tree, revision, { checkpoint: { usage, learnt: [] } });
  await engine.sidecar.acquire(request('a'));
  await engine.sidecar.acquire(request('b', { wait: { mode: 'UntilSlot', maxWaitMs: 0 } }));
  const { replay, differences } = await ledger.replay();
  expect(differences).toEqual([]);
  expect(replay.counts.checked).toBe(3);
});
