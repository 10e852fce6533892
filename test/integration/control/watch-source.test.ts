import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { ControlService, type WatchRequest } from '#proto/glmquota/v1/control_pb.ts';
import { createCell } from '#sidecar/base/cell.ts';
import { systemClock } from '#sidecar/base/clock.ts';
import { AppError } from '#sidecar/base/errors.ts';
import { createLog, type Log } from '#sidecar/base/log.ts';
import { encodeSnapshot } from '#sidecar/control/encode.ts';
import { followSnapshots } from '#sidecar/control/follow.ts';
import type { SidecarSnapshot } from '#sidecar/control/terms.ts';
import { watchSource, type WatchSourceOptions } from '#sidecar/control/watch-source.ts';
import type { CallContext } from '#sidecar/rpc/handlers.ts';
import { RpcServer } from '#sidecar/rpc/server.ts';
import { createAuthority, type TestAuthority } from '#test/support/rpc/certificates.ts';
import { DEMANDS, exampleSnapshot, VERSION } from '#test/support/control/snapshots.ts';

type Watch = (request: WatchRequest, context: CallContext) => AsyncIterable<{ snapshot?: ReturnType<typeof encode> }>;

const encode = (generation: number) => encodeSnapshot(exampleSnapshot(generation), DEMANDS);
const log = createLog('silent');

let folder: string;
let authority: TestAuthority;
let stop: AbortController;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'control-'));
  await writeFile(join(folder, 'token'), 'first\n');
  authority = await createAuthority('ours');
  stop = new AbortController();
});
afterEach(async () => {
  stop.abort();
  await rm(folder, { recursive: true });
});

/** An operator of the test's own, over TLS. */
async function operator(watch: Watch, port = 0): Promise<{ port: number } & AsyncDisposable> {
  const server = new RpcServer({ clock: systemClock, log });
  server.add(ControlService, { watch });
  const certificate = await authority.issue(['edge.test']);
  const bound = await server.listen(`127.0.0.1:${port}`, {
    kind: 'tls',
    certificates: { current: certificate, watch: () => ({ [Symbol.dispose]: () => undefined }) },
  });
  return { port: bound, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() };
}

function optionsFor(port: number): WatchSourceOptions {
  return {
    address: `127.0.0.1:${port}`,
    security: { kind: 'tls', caPem: authority.caPem, serverName: 'edge.test' },
    tokenFile: join(folder, 'token'),
    version: VERSION,
    clock: systemClock,
    log,
  };
}

async function untilAborted(signal: AbortSignal): Promise<void> {
  if (!signal.aborted) await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
}

/** A log that resolves when a stream was lost. */
function lossLog(): { lost: Promise<void>; log: Log } {
  const { promise, resolve } = Promise.withResolvers<void>();
  return { lost: promise, log: { ...log, warn: () => resolve() } };
}

/** Reads the generations of the source's snapshots into a list, in the background. */
function generations(port: number, options: Partial<WatchSourceOptions> = {}): number[] {
  const seen: number[] = [];
  void (async () => {
    const source = watchSource({ ...optionsFor(port), ...options });
    for await (const { revision } of source.watch(stop.signal)) seen.push(revision.generation);
  })();
  return seen;
}

test('snapshots arrive over TLS with the token of the file and the versions of this build', async () => {
  const asked: unknown[] = [];
  await using server = await operator(async function* (request, context) {
    asked.push([context.bearer, request.sidecarVersion, request.engineVersions]);
    yield { snapshot: encode(1) };
    yield { snapshot: encode(2) };
    await untilAborted(context.signal);
  });
  const seen = generations(server.port);
  await vi.waitFor(() => expect(seen).toEqual([1, 2]), 10_000);
  expect(asked).toEqual([['first', '0.1.0', ['1']]]);
});

test('a smaller revision is left out, also after a reconnect; an equal one is applied', async () => {
  let streams = 0;
  await using server = await operator(async function* (_, context) {
    streams++;
    for (const generation of streams === 1 ? [5, 4] : [3, 5, 6]) yield { snapshot: encode(generation) };
    if (streams > 1) await untilAborted(context.signal);
  });
  const seen = generations(server.port);
  await vi.waitFor(() => expect(seen).toEqual([5, 5, 6]), 10_000);
});

test('a quota that moves to another account gets that tree, whose generations count from the beginning', async () => {
  const moved = exampleSnapshot(3);
  const elsewhere = { ...moved, binding: { ...moved.binding, treeKey: 'b'.repeat(26) } };
  await using server = await operator(async function* (_, context) {
    yield { snapshot: encode(50) };
    yield { snapshot: encodeSnapshot(elsewhere, DEMANDS) };
    yield { snapshot: encodeSnapshot({ ...elsewhere, revision: exampleSnapshot(2).revision }, DEMANDS) };
    yield { snapshot: encodeSnapshot({ ...elsewhere, revision: exampleSnapshot(4).revision }, DEMANDS) };
    await untilAborted(context.signal);
  });
  const seen = generations(server.port);
  await vi.waitFor(() => expect(seen).toEqual([50, 3, 4]), 10_000);
});

test('a restarted operator is found again and the token is read anew', async () => {
  const tokens: (string | null)[] = [];
  const watch: Watch = async function* (_, context) {
    tokens.push(context.bearer);
    yield { snapshot: encode(tokens.length) };
    await untilAborted(context.signal);
  };
  const first = await operator(watch);
  const seen = generations(first.port);
  await vi.waitFor(() => expect(seen).toEqual([1]), 10_000);
  await first[Symbol.asyncDispose]();
  await writeFile(join(folder, 'token'), 'second');
  await using _second = await operator(watch, first.port);
  await vi.waitFor(() => expect(seen).toEqual([1, 2]), 30_000);
  expect(tokens).toEqual(['first', 'second']);
});

test('a refused token, a missing token file and a malformed snapshot are retried', async () => {
  let streams = 0;
  await using server = await operator(async function* (_, context) {
    streams++;
    if (streams === 1) throw new AppError('unauthenticated', 'expired');
    if (streams === 2) yield {};
    yield { snapshot: encode(streams) };
    await untilAborted(context.signal);
  });
  await rm(join(folder, 'token'));
  const losing = lossLog();
  const seen = generations(server.port, { log: losing.log });
  await losing.lost;
  expect(streams).toBe(0);
  await writeFile(join(folder, 'token'), 'late');
  await vi.waitFor(() => expect(seen).toEqual([3]), 30_000);
});

test.each(['forbidden', 'unsupported'] as const)('%s ends the watch: the last snapshot is void', async (code) => {
  await using server = await operator(async function* () {
    yield { snapshot: encode(1) };
    throw new AppError(code, 'no more');
  });
  const seen: number[] = [];
  const reading = (async () => {
    for await (const { revision } of watchSource(optionsFor(server.port)).watch(stop.signal))
      seen.push(revision.generation);
  })();
  await expect(reading).rejects.toMatchObject({ code, message: 'no more' });
  expect(seen).toEqual([1]);
});

test('a snapshot for newer sidecars ends the watch with UpgradeRequired', async () => {
  await using server = await operator(async function* () {
    yield { snapshot: encodeSnapshot(exampleSnapshot(1), { ...DEMANDS, minSidecarVersion: '9.0.0' }) };
  });
  const first = watchSource(optionsFor(server.port)).watch(stop.signal)[Symbol.asyncIterator]().next();
  await expect(first).rejects.toMatchObject({
    code: 'unsupported',
    message: expect.stringContaining('UpgradeRequired'),
  });
});

test('an operator with a certificate of another authority gets no token', async () => {
  const bearers: unknown[] = [];
  await using server = await operator(async function* (_, context) {
    bearers.push(context.bearer);
    await untilAborted(context.signal);
    yield {};
  });
  const foreign = await createAuthority('theirs');
  const losing = lossLog();
  const security = { kind: 'tls', caPem: foreign.caPem, serverName: 'edge.test' } as const;
  const seen = generations(server.port, { security, log: losing.log });
  await losing.lost;
  expect(seen).toEqual([]);
  expect(bearers).toEqual([]);
});

test('the snapshot in force goes when the operator refuses and comes back when it grants again', async () => {
  let granted = true;
  let generation = 0;
  const revoke = new AbortController();
  await using server = await operator(async function* (_, context) {
    if (!granted) throw new AppError('forbidden', 'QuotaNotGranted');
    yield { snapshot: encode(++generation) };
    await untilAborted(generation === 1 ? revoke.signal : context.signal);
    throw new AppError('forbidden', 'QuotaNotGranted');
  });
  const snapshots = createCell<SidecarSnapshot | null>(null);
  const refusals = createCell<AppError | null>(null);
  const clock = { ...systemClock, sleep: (ms: number, signal?: AbortSignal) => systemClock.sleep(ms / 50, signal) };
  const following = followSnapshots(
    { source: watchSource(optionsFor(server.port)), snapshots, refusals, clock, log },
    stop.signal,
  );
  await vi.waitFor(() => expect(snapshots.value?.revision.generation).toBe(1), 10_000);
  granted = false;
  revoke.abort();
  await vi.waitFor(() => expect(snapshots.value).toBeNull(), 10_000);
  expect(refusals.value).toMatchObject({ code: 'forbidden', message: 'QuotaNotGranted' });
  granted = true;
  await vi.waitFor(() => expect(snapshots.value?.revision.generation).toBeGreaterThan(1), 10_000);
  expect(refusals.value).toBeNull();
  stop.abort();
  await following;
});

test('the snapshot in force stays while the operator is away', async () => {
  const server = await operator(async function* (_, context) {
    yield { snapshot: encode(1) };
    await untilAborted(context.signal);
  });
  const snapshots = createCell<SidecarSnapshot | null>(null);
  const refusals = createCell<AppError | null>(null);
  const losing = lossLog();
  const source = watchSource({ ...optionsFor(server.port), log: losing.log });
  const following = followSnapshots({ source, snapshots, refusals, clock: systemClock, log }, stop.signal);
  await vi.waitFor(() => expect(snapshots.value).not.toBeNull(), 10_000);
  await server[Symbol.asyncDispose]();
  await losing.lost;
  expect(snapshots.value?.revision.generation).toBe(1);
  stop.abort();
  await following;
});
