import { create, fromBinary, fromJsonString, toBinary } from '@bufbuild/protobuf';
import { expect, test } from 'vitest';
import { BindingSchema, type Snapshot, SnapshotSchema } from '#proto/glmquota/v1/control_pb.ts';
import type { AppError } from '#sidecar/base/errors.ts';
import { decodeSnapshot } from '#sidecar/control/decode.ts';
import { encodeSnapshot, renderSnapshotFile } from '#sidecar/control/encode.ts';
import type { SidecarSnapshot } from '#sidecar/control/terms.ts';
import { PRIORITY_CLASSES } from '#sidecar/engine/tree-terms.ts';
import { isOlder } from '#sidecar/control/version.ts';
import { DEMANDS, exampleSnapshot, VERSION } from '#test/support/control/snapshots.ts';

/** The error for an example snapshot with one thing changed. */
function refusal(change: (snapshot: Snapshot) => void): AppError | null {
  const message = encodeSnapshot(exampleSnapshot(), DEMANDS);
  change(message);
  try {
    decodeSnapshot(fromBinary(SnapshotSchema, toBinary(SnapshotSchema, message)), VERSION);
    return null;
  } catch (reason) {
    return reason as AppError;
  }
}

test('what is encoded is decoded the same, as bytes and as the file of local mode', () => {
  const message = encodeSnapshot(exampleSnapshot(), DEMANDS);
  const bytes = toBinary(SnapshotSchema, message);
  expect(decodeSnapshot(fromBinary(SnapshotSchema, bytes), VERSION)).toEqual(exampleSnapshot());
  const file = renderSnapshotFile(exampleSnapshot(), DEMANDS);
  expect(decodeSnapshot(fromJsonString(SnapshotSchema, file), VERSION)).toEqual(exampleSnapshot());
});

test('absent things are null on both ends', () => {
  const bare = exampleSnapshot();
  const snapshot = {
    ...bare,
    binding: { ...bare.binding, perAgentConcurrency: null, attributes: {} },
    upstream: { ...bare.upstream, caPem: 'PEM' },
    redis: { url: 'redis://127.0.0.1:6379', username: null, password: null, caPem: null },
  };
  expect(decodeSnapshot(encodeSnapshot(snapshot, DEMANDS), VERSION)).toEqual(snapshot);
});

test('what an operator of the version before does not say means what it did: no waiting, no second try', () => {
  const message = encodeSnapshot(exampleSnapshot(), DEMANDS);
  const { treeKey, quota, leaf, path, currency, perAgentConcurrency, maxRuntimeMs } = message.binding!;
  message.binding = create(BindingSchema, { treeKey, quota, leaf, path, currency, perAgentConcurrency, maxRuntimeMs });
  expect(decodeSnapshot(message, VERSION).binding).toMatchObject({
    waiting: { mode: 'Reject', maxWaitMs: 0 },
    class: { default: 'Normal', max: 'High' },
    attributes: {},
    drained: false,
    durability: 'Async',
    onStoreFailure: { policy: 'Closed' },
    retry: { maxAttempts: 1 },
  });
});

test('every word of waiting, class, durability and store policy survives the wire', () => {
  const example = exampleSnapshot();
  const passes = (change: Partial<SidecarSnapshot['binding']>): void => {
    const snapshot = { ...example, binding: { ...example.binding, ...change } };
    expect(decodeSnapshot(encodeSnapshot(snapshot, DEMANDS), VERSION)).toEqual(snapshot);
  };
  for (const mode of ['Reject', 'UntilSlot', 'UntilWindow'] as const) passes({ waiting: { mode, maxWaitMs: 1 } });
  for (const max of PRIORITY_CLASSES) passes({ class: { default: 'Low', max } });
  for (const durability of ['Async', 'Strict'] as const) passes({ durability });
  for (const policy of ['Closed', 'LocalShare', 'Open'] as const)
    passes({ onStoreFailure: { policy, localSharePercent: 1, maxDurationMs: 1 } });
  passes({
    drained: true,
    attributes: { tool: 't', capability: 'c', source: 's', user: 'u', pool: 'p', namespace: 'n' },
  });
});

test.each<[string, (s: Snapshot) => void]>([
  ['binding', (s) => delete s.binding],
  ['revision', (s) => delete s.revision],
  ['catalog', (s) => delete s.catalog],
  ['catalog.schedule', (s) => delete s.catalog!.schedule],
  ['upstream', (s) => delete s.upstream],
  ['redis', (s) => delete s.redis],
])('a snapshot without %s is invalid', (path, change) => {
  expect(refusal(change)).toMatchObject({ code: 'invalid', message: `${path} is missing` });
});

test.each<[string, (s: Snapshot) => void]>([
  ['revision.generation', (s) => (s.revision!.generation = -1n)],
  ['revision.lease_created_ms', (s) => (s.revision!.leaseCreatedMs = 2n ** 53n)],
  ['binding.waiting.max_wait_ms', (s) => (s.binding!.waiting!.maxWaitMs = 86_400_001n)],
  ['binding.on_store_failure.local_share_percent', (s) => (s.binding!.onStoreFailure!.localSharePercent = 101)],
  ['binding.retry.max_attempts', (s) => (s.binding!.retry!.maxAttempts = 0)],
  ['binding.retry.factor_permille', (s) => (s.binding!.retry!.factorPermille = 999)],
  ['binding.max_runtime_ms', (s) => (s.binding!.maxRuntimeMs = 2n ** 63n - 1n)],
  ['catalog.prices[0].tiers[1].output_nano', (s) => (s.catalog!.prices[0]!.tiers[1]!.outputNano = 2n ** 53n)],
  ['catalog.credits[0].input_micro', (s) => (s.catalog!.credits[0]!.inputMicro = -5n)],
  ['catalog.schedule.promotions[0].until_ms', (s) => (s.catalog!.schedule!.promotions[0]!.untilMs = 2n ** 60n)],
  ['catalog.schedule.peak[0].weekdays[1]', (s) => (s.catalog!.schedule!.peak[0]!.weekdays[1] = 8)],
  ['catalog.schedule.peak[0].to_minute', (s) => (s.catalog!.schedule!.peak[0]!.toMinute = 1441)],
])('%s out of bounds is invalid', (path, change) => {
  const error = refusal(change);
  expect(error?.code).toBe('invalid');
  expect(error?.message).toContain(`${path} is `);
});

test('2^53 - 1 is the largest number that passes', () => {
  expect(refusal((s) => (s.revision!.generation = 2n ** 53n - 1n))).toBeNull();
});

test.each<[string, (s: Snapshot) => void]>([
  ['upstream.billing', (s) => (s.upstream!.billing = 9 as never)],
  ['upstream.billing', (s) => (s.upstream!.billing = 0)],
  ['catalog.errors[3].class', (s) => (s.catalog!.errors[3]!.class = 200 as never)],
  ['binding.waiting.mode', (s) => (s.binding!.waiting!.mode = 9 as never)],
  ['binding.waiting.mode', (s) => (s.binding!.waiting!.mode = 0)],
  ['binding.default_class', (s) => (s.binding!.defaultClass = 9 as never)],
  ['binding.max_class', (s) => (s.binding!.maxClass = 9 as never)],
  ['binding.durability', (s) => (s.binding!.durability = 9 as never)],
  ['binding.on_store_failure.policy', (s) => (s.binding!.onStoreFailure!.policy = 9 as never)],
  ['binding.currency', (s) => (s.binding!.currency = 'EUR')],
  ['catalog.schedule.time_zone', (s) => (s.catalog!.schedule!.timeZone = 'Mars/Olympus')],
])('a value of %s that this version does not know is refused, never skipped', (path, change) => {
  const error = refusal(change);
  expect(error?.code).toBe('unsupported');
  expect(error?.message).toMatch(new RegExp(`^UpgradeRequired: ${path.replaceAll(/[.[\]]/g, String.raw`\$&`)} is `));
});

test('another engine version and a newer minimum are refused with what to upgrade', () => {
  expect(refusal((s) => (s.engineVersion = '2'))).toMatchObject({
    code: 'unsupported',
    message: 'UpgradeRequired: the operator runs engine 2, this sidecar can call 1',
  });
  expect(refusal((s) => (s.minSidecarVersion = '0.2.0'))?.message).toContain('needs sidecars of 0.2.0 or newer');
});

test.each([
  'http://llm.example.com',
  'https://llm.example.com/v1',
  'https://user:pw@llm.example.com',
  'ftp://llm.example.com',
  'llm.example.com',
  '',
])('the key is never sent to origin %j', (origin) => {
  expect(refusal((s) => (s.upstream!.origin = origin))?.code).toBe('invalid');
});

test('the user of the Sentinels and the URL that names them arrive', () => {
  const sentinel = { username: 'asker', password: 'third' };
  const redis = { ...exampleSnapshot().redis, url: 'rediss+sentinel://a:1,b:2/main', sentinel };
  const snapshot = { ...exampleSnapshot(), redis };
  expect(decodeSnapshot(encodeSnapshot(snapshot, DEMANDS), VERSION).redis).toEqual(redis);
});

test.each(['redis://redis.glm.svc:6379', 'rediss://u:p@redis.glm.svc:6379', 'unix:/tmp/redis.sock', ''])(
  'Redis credentials are never sent to %j',
  (url) => {
    expect(refusal((s) => (s.redis!.url = url))?.code).toBe('invalid');
  },
);

test('an error never quotes the key', () => {
  const error = refusal((s) => (s.upstream!.apiKey = 'top secret\n'));
  expect(error).toMatchObject({ code: 'invalid', message: 'upstream.api_key is malformed' });
});

test.each([
  ['0.1.0', '0.1.0', false],
  ['0.1.0', '0.1.1', true],
  ['0.10.0', '0.9.9', false],
  ['1.0.0', '0.99.99', false],
  ['0.1.0-rc.1', '0.1.0', false],
  ['0.1.9', '0.2.0', true],
])('version %s is older than %s: %s', (version, minimum, older) => {
  expect(isOlder(version, minimum)).toBe(older);
});
