import { expect, test, vi } from 'vitest';
import { Outcome } from '#proto/glmquota/v1/lease_pb.ts';
import type { NodeSnapshot, Verdict } from '#sidecar/engine/terms.ts';
import { acquire, renewing, service, WORK } from '#test/support/grpc/lease-service.ts';
import { snapshotOf } from '#test/unit/leases/fixtures.ts';

test('work is granted, settled by its use, and settling again changes nothing', async () => {
  const { client, engine } = await service();
  const id = await acquire(client);
  const use = { id, outcome: Outcome.COMPLETED, usage: { inputTokens: 90n, cachedTokens: 8n, outputTokens: 60n } };
  expect(await client.settle(use)).toMatchObject({ late: false });
  expect(await client.settle(use)).toMatchObject({ late: false });
  expect(engine.settled).toHaveLength(1);
  expect(engine.settled[0]).toMatchObject({
    outcome: 'completed',
    actual: { requests: 1, inputTokens: 90, cachedTokens: 8, outputTokens: 60 },
    sentAfterMs: expect.any(Number),
    firstByteAfterMs: expect.any(Number),
  });
});

test('asking twice with one id, also at the same time, gives one lease', async () => {
  const { client, engine } = await service();
  expect(await Promise.all([acquire(client, 'job-1'), acquire(client, 'job-1')])).toEqual(['job-1', 'job-1']);
  expect(await acquire(client, 'job-1')).toBe('job-1');
  expect(engine.asked).toHaveLength(1);
});

test("the caller's id is not the lease's: no id can name a lease of the proxy", async () => {
  const { client, engine, desk } = await service();
  const proxied = await desk.admit(
    { model: 'glm-5.3', estimate: { inputTokens: 1, cachedTokens: 0, outputTokens: 1 } },
    new AbortController().signal,
  );
  const id = proxied.kind === 'admitted' ? proxied.lease.id : '';
  for (const attempt of [client.settle({ id, outcome: Outcome.COMPLETED }), client.cancel({ id })]) {
    await expect(attempt).rejects.toMatchObject({ code: 'notFound' });
  }
  const renew = renewing(client);
  renew.send(id);
  expect(await renew.next()).toEqual([id, false]);
  await renew.end();
  expect(await acquire(client, id)).toBe(id);
  expect(engine.asked.map((request) => request.id)).toHaveLength(2);
  expect(new Set(engine.asked.map((request) => request.id)).size).toBe(2);
  expect([engine.settled, engine.cancelled]).toEqual([[], []]);
});

test('a denial says reason, node, limit and when to come back', async () => {
  const { client, engine, clock } = await service();
  engine.onAcquire = (): Verdict => ({
    kind: 'denied',
    reason: 'Window',
    node: 'quota:team/a',
    limit: 'five-hour',
    used: 10,
    amount: 10,
    retryAtMs: engine.serverNowMs + 90_000,
    serverNowMs: engine.serverNowMs,
  });
  const { verdict } = await client.acquire(WORK);
  expect(verdict).toMatchObject({
    case: 'denied',
    value: {
      reason: 'Window',
      node: 'quota:team/a',
      limit: 'five-hour',
      retryAtMs: BigInt(clock.nowMs() + 90_000),
      used: 10n,
      amount: 10n,
    },
  });
});

test('without configuration and without Redis the answer is unavailable, and nothing is held', async () => {
  const unconfigured = await service(null);
  await expect(unconfigured.client.acquire(WORK)).rejects.toMatchObject({ code: 'unavailable' });
  const { client, engine, desk } = await service();
  engine.down = true;
  await expect(client.acquire(WORK)).rejects.toMatchObject({ code: 'unavailable' });
  expect(desk.inFlight).toBe(0);
});

test.each<[string, object, string]>([
  ['no model', { model: '' }, 'model must have 1 to 256 characters'],
  ['a model name of 10,000 characters', { model: 'm'.repeat(10_000) }, 'model must have 1 to 256 characters'],
  ['an id of 10,000 characters', { id: 'x'.repeat(10_000) }, 'id must be 1 to 128 printable'],
  ['an id with a space', { id: 'a b' }, 'id must be 1 to 128 printable'],
  ['a negative amount', { estimate: { inputTokens: -1n } }, 'estimate.input_tokens is -1'],
  [
    'an amount beyond 2^53 - 1',
    { estimate: { outputTokens: 2n ** 53n } },
    'estimate.output_tokens is 9007199254740992',
  ],
  ['negative cost units', { estimate: { costUnits: -1n } }, 'estimate.cost_units is -1'],
  ['a negative wait', { maxWaitMs: -1n }, 'max_wait_ms is -1'],
  ['a negative run time', { runtimeSeconds: -1n }, 'runtime_seconds is -1'],
  ['an unknown priority', { priority: 'urgent' }, 'priority must be one of System, High, Normal, Low'],
  ['an attribute of 200 characters', { user: 'u'.repeat(200) }, 'user must have at most 128'],
  ['a sum beyond 2^53 - 1', { estimate: { inputTokens: 2n ** 53n - 1n, cachedTokens: 1n } }, 'the sum of estimate is'],
])('Acquire with %s is INVALID_ARGUMENT and asks nobody', async (_, change, message) => {
  const { client, engine } = await service();
  await expect(client.acquire({ ...WORK, ...change })).rejects.toMatchObject({
    code: 'invalid',
    message: expect.stringContaining(message),
  });
  expect(engine.asked).toEqual([]);
});

test('Settle and Cancel refuse bad input and unknown ids clearly', async () => {
  const { client } = await service();
  const id = await acquire(client);
  await expect(client.settle({ id })).rejects.toMatchObject({ code: 'invalid', message: /^outcome must be/ });
  await expect(client.settle({ id, outcome: 77 as Outcome })).rejects.toMatchObject({ code: 'invalid' });
  await expect(client.settle({ id, outcome: Outcome.BROKE, usage: { outputTokens: -7n } })).rejects.toMatchObject({
    code: 'invalid',
  });
  await expect(client.settle({ id: 'nobody', outcome: Outcome.BROKE })).rejects.toMatchObject({ code: 'notFound' });
  await expect(client.cancel({ id: '' })).rejects.toMatchObject({ code: 'invalid' });
  await expect(client.cancel({ id: 'nobody' })).rejects.toMatchObject({ code: 'notFound' });
  expect(await client.settle({ id, outcome: Outcome.COMPLETED })).toMatchObject({ late: false });
});

test('work that failed before it used anything is refunded', async () => {
  const { client, engine } = await service();
  const id = await acquire(client);
  await client.settle({ id, outcome: Outcome.FAILED, usage: { inputTokens: 5n } });
  expect(engine.settled[0]).toMatchObject({
    outcome: 'failedBeforeFirstByte',
    actual: { requests: 0, inputTokens: 0 },
  });
});

test('Cancel before the work began gives everything back; twice changes nothing; the id is used up', async () => {
  const { client, engine } = await service();
  const id = await acquire(client, 'job-2');
  await client.cancel({ id });
  await client.cancel({ id });
  expect(engine.cancelled).toHaveLength(1);
  await expect(client.settle({ id, outcome: Outcome.COMPLETED })).rejects.toMatchObject({ code: 'conflict' });
  await expect(client.acquire({ ...WORK, id })).rejects.toMatchObject({ code: 'conflict' });
});

test('Acquire that is cancelled while Redis is asked leaves no lease behind', async () => {
  const { client, engine, desk, signals } = await service();
  const answer = Promise.withResolvers<void>();
  engine.onAcquire = async (request) => {
    await answer.promise;
    return engine.grant(request.id);
  };
  const caller = new AbortController();
  const asking = client.acquire(WORK, { signal: caller.signal });
  await vi.waitFor(() => expect(engine.asked).toHaveLength(1));
  caller.abort(new Error('gone'));
  await expect(asking).rejects.toThrow('gone');
  await vi.waitFor(() => expect(signals[0]?.aborted).toBe(true));
  answer.resolve();
  await vi.waitFor(() => expect(engine.cancelled).toHaveLength(1));
  expect(desk.inFlight).toBe(0);
});

test('Acquire heeds its deadline', async () => {
  const { client, engine } = await service();
  engine.onAcquire = () => new Promise(() => undefined);
  await expect(client.acquire(WORK, { timeoutMs: 100 })).rejects.toMatchObject({ code: 'deadline' });
});

test('Status shows the nodes of the own path only', async () => {
  const node = (name: string): NodeSnapshot => ({
    name,
    inFlight: 1,
    concurrency: null,
    stopped: false,
    queued: 0,
    frozenUntilMs: null,
    breaker: 'Closed',
    rateWaitUs: 0,
    oldestWaiterMs: null,
    usage: [],
  });
  const usage = { limit: 'daily', resource: 'Cost', amount: 50, used: 20, reserved: 5, resetsAtMs: null } as const;
  const { client } = await service(snapshotOf(), {
    key: 'tree',
    epoch: 1,
    revision: { leaseCreatedMs: 1, transitions: 0, generation: 7 },
    configHash: '',
    serverNowMs: 0,
    nodes: [
      { ...node('account'), frozenUntilMs: 77, breaker: 'HalfOpen' },
      { ...node('quota:team/a'), concurrency: 2, stopped: true, usage: [usage], queued: 3 },
      node('quota:team/secret'),
    ],
    leases: 1,
  });
  const status = await client.status({});
  expect(status.quota).toBe('team/a');
  expect(status.nodes.map(({ name }) => name)).toEqual(['quota:team/a', 'account']);
  expect(status.nodes[0]).toMatchObject({
    inFlight: 1,
    concurrency: 2,
    stopped: true,
    queued: 3,
    frozenUntilMs: 0n,
    breaker: 'Closed',
    limits: [{ name: 'daily', resource: 'Cost', amount: 50n, used: 20n, reserved: 5n, resetsAtMs: 0n }],
  });
  expect(status.nodes[1]).toMatchObject({ frozenUntilMs: 77n, breaker: 'HalfOpen' });
});

test('Status before any configuration is unavailable', async () => {
  const { client } = await service(null);
  await expect(client.status({})).rejects.toMatchObject({ code: 'unavailable' });
});
