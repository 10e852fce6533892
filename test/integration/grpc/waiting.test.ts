import { expect, test, vi } from 'vitest';
import { Outcome } from '#proto/glmquota/v1/lease_pb.ts';
import { service, WORK } from '#test/support/grpc/lease-service.ts';
import { settled, snapshotOf } from '#test/unit/leases/fixtures.ts';

const PATIENT = { waiting: { mode: 'UntilWindow', maxWaitMs: 60_000 } } as const;

test('work that does not fit waits, and is granted when its turn comes', async () => {
  const { client, engine } = await service(snapshotOf(PATIENT));
  engine.queueFirst(1);
  const asking = client.acquire({ ...WORK, id: 'job-1' });
  await vi.waitFor(() => expect(engine.listening).toBe(1));
  engine.pushGrant(engine.asked[0]!.id, { warnings: [{ node: 'account', limit: 'five-hour', percent: 82 }] });
  expect((await asking).verdict).toMatchObject({
    case: 'granted',
    value: { id: 'job-1', ttlMs: 15_000n, warnings: [{ node: 'account', limit: 'five-hour', percent: 82 }] },
  });
});

test('work says how long it waits, how important it is and what it is', async () => {
  const { client, engine } = await service(snapshotOf({ ...PATIENT, attributes: { pool: 'reviewers' } }));
  const about = { priority: 'Low', tool: 'lint', capability: 'review', source: 'nightly', user: 'ann' };
  const estimate = { inputTokens: 1n, costUnits: 5n };
  await client.acquire({ ...WORK, ...about, estimate, maxWaitMs: 2000n, runtimeSeconds: 30n });
  expect(engine.asked[0]).toMatchObject({
    class: 'Low',
    attributes: { tool: 'lint', capability: 'review', source: 'nightly', user: 'ann', pool: 'reviewers' },
    wait: { mode: 'UntilWindow', maxWaitMs: 2000 },
    reserve: { costUnits: 5, runtimeSeconds: 30 },
  });
});

test('work that will not wait is decided at once', async () => {
  const { client, engine } = await service(snapshotOf(PATIENT));
  await client.acquire({ ...WORK, maxWaitMs: 0n });
  expect(engine.asked[0]?.wait.maxWaitMs).toBe(0);
});

test('work is settled by the cost units its caller says', async () => {
  const { client, engine } = await service();
  const { verdict } = await client.acquire({ ...WORK, estimate: { costUnits: 5n } });
  const id = verdict.case === 'granted' ? verdict.value.id : '';
  await client.settle({ id, outcome: Outcome.COMPLETED, usage: { costUnits: 7n } });
  expect(engine.settled[0]?.actual).toMatchObject({ costUnits: 7, runtimeSeconds: 1 });
});

test('Status tells which calls of the pod wait, and where', async () => {
  const tree = {
    key: 'tree',
    epoch: 1,
    revision: { leaseCreatedMs: 1, transitions: 0, generation: 7 },
    configHash: '',
    serverNowMs: 0,
    nodes: [],
    leases: 0,
  };
  const { client, engine } = await service(snapshotOf(PATIENT), tree);
  engine.onAcquire = ({ id }) => engine.queued(id, { position: 3, etaMs: 1500 });
  const caller = new AbortController();
  const asking = client.acquire(WORK, { signal: caller.signal }).catch((error: unknown) => error);
  await vi.waitFor(() => expect(engine.listening).toBe(1));
  expect((await client.status({})).waiting).toMatchObject([{ position: 3n, etaMs: 1500n }]);
  caller.abort(new Error('gone'));
  await asking;
});

test('T5 Acquire that is cancelled while it waits keeps its place for the same id', async () => {
  const { client, engine } = await service(snapshotOf(PATIENT));
  engine.queueFirst(1);
  const caller = new AbortController();
  const asking = client.acquire({ ...WORK, id: 'job-1' }, { signal: caller.signal }).catch((error: unknown) => error);
  await vi.waitFor(() => expect(engine.listening).toBe(1));
  caller.abort(new Error('gone'));
  await asking;
  await vi.waitFor(() => expect(engine.kept).toEqual([engine.asked[0]?.id]));
  await settled();
  await client.acquire({ ...WORK, id: 'job-1' });
  const [first, second] = engine.asked;
  expect(second?.place).toBe(first?.place);
  expect(second?.id).not.toBe(first?.id);
});

test('Acquire whose deadline passes while it waits is taken out of the queue', async () => {
  const { client, engine } = await service(snapshotOf(PATIENT));
  engine.onAcquire = ({ id }) => engine.queued(id);
  await expect(client.acquire(WORK, { timeoutMs: 200 })).rejects.toMatchObject({ code: 'deadline' });
  await vi.waitFor(() => expect(engine.cancelled).toEqual([engine.asked[0]?.id]));
});
