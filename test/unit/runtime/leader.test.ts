import { beforeEach, expect, test } from 'vitest';
import { AppError } from '#sidecar/base/errors.ts';
import { createLog } from '#sidecar/base/log.ts';
import { apiError } from '#operator/runtime/api-errors.ts';
import { type Fence, LeaderElection, type LeaderOptions, type Term } from '#operator/runtime/leader.ts';
import type { KubeIntent, KubeObject } from '#operator/runtime/resources.ts';
import { ManualClock, settled } from './manual-clock.ts';

/** One Lease with the API server's compare-and-set. */
class OneLease {
  object: KubeObject | null = null;
  down = false;
  writes = 0;
  readonly #clock: ManualClock;

  constructor(clock: ManualClock) {
    this.#clock = clock;
  }

  async get(): Promise<KubeObject | null> {
    this.#reachable();
    return this.object;
  }

  async create(_: unknown, intent: KubeIntent): Promise<KubeObject> {
    this.#reachable();
    if (this.object !== null) throw apiError('create', { status: 409, reason: 'AlreadyExists', message: 'exists' });
    const creationTimestamp = new Date(this.#clock.nowMs()).toISOString();
    return this.#store({ ...intent, metadata: { ...intent.metadata, uid: `uid-${this.writes}`, creationTimestamp } });
  }

  async replace(_: unknown, intent: KubeIntent): Promise<KubeObject> {
    this.#reachable();
    const { uid, creationTimestamp, resourceVersion } = this.object?.metadata ?? {};
    if (intent.metadata.resourceVersion !== resourceVersion) {
      throw apiError('replace', { status: 409, reason: 'Conflict', message: 'changed meanwhile' });
    }
    return this.#store({ ...intent, metadata: { ...intent.metadata, uid, creationTimestamp } });
  }

  get holder(): string {
    return (this.object?.['spec'] as { holderIdentity: string } | undefined)?.holderIdentity ?? '';
  }

  #reachable(): void {
    if (this.down) throw new AppError('unavailable', 'no API server');
  }

  #store(object: object): KubeObject {
    this.writes += 1;
    const stored = object as { metadata: object };
    const metadata = { ...stored.metadata, resourceVersion: String(this.writes) };
    this.object = { ...stored, metadata } as unknown as KubeObject;
    return this.object;
  }
}

interface Candidate {
  readonly election: LeaderElection;
  readonly stop: AbortController;
  readonly ended: Promise<string>;
  term: Term | null;
}

let clock: ManualClock;
let lease: OneLease;

beforeEach(() => {
  clock = new ManualClock();
  lease = new OneLease(clock);
});

function join(prefix: string, options: Partial<LeaderOptions> = {}): Candidate {
  const election = new LeaderElection({
    client: lease as unknown as LeaderOptions['client'],
    lease: { namespace: 'ns', name: 'controller' },
    clock,
    log: createLog('silent'),
    identityPrefix: prefix,
    ...options,
  });
  const stop = new AbortController();
  const candidate: { term: Term | null } = { term: null };
  const ended = election
    .run(stop.signal, async (term) => {
      candidate.term = term;
      const either = AbortSignal.any([stop.signal, term.lost]);
      await new Promise((resolve) => either.addEventListener('abort', resolve, { once: true }));
      candidate.term = null;
    })
    .then(
      () => 'stopped',
      (reason: unknown) => AppError.from(reason).message,
    );
  return Object.assign(candidate, { election, stop, ended });
}

function fenceOf(candidate: Candidate): Fence {
  if (candidate.term === null) throw new Error('does not lead');
  return candidate.term.fence;
}

test('of two processes one leads', async () => {
  const [a, b] = [join('a'), join('b')];
  await clock.advance(60_000);
  expect([a.term !== null, b.term !== null].filter(Boolean).length).toBe(1);
  for (const each of [a, b]) each.stop.abort();
  expect(await a.ended).toBe('stopped');
  expect(await b.ended).toBe('stopped');
});

test('a leader that vanished is replaced after the lease ran out by our own clock', async () => {
  const network = { cut: false };
  const reach = <Args extends unknown[], Reply>(call: (...args: Args) => Promise<Reply>) => {
    return async (...args: Args): Promise<Reply> => (network.cut ? new Promise<Reply>(() => undefined) : call(...args));
  };
  const client = {
    get: reach(async () => lease.get()),
    create: reach(async (_: unknown, intent: KubeIntent) => lease.create(_, intent)),
    replace: reach(async (_: unknown, intent: KubeIntent) => lease.replace(_, intent)),
  };
  const a = join('a', { client });
  await settled();
  const first = fenceOf(a);
  const b = join('b');
  await settled();
  network.cut = true;
  await clock.advance(14_000);
  expect(b.term).toBeNull();
  await clock.advance(5000);
  expect(fenceOf(b)).toEqual({ leaseCreatedMs: first.leaseCreatedMs, transitions: first.transitions + 1 });
  expect(a.term).toBeNull();
  b.stop.abort();
  await b.ended;
});

test('a leader told to stop gives the lease back and is followed within one retry', async () => {
  const a = join('a');
  await settled();
  const b = join('b');
  await clock.advance(5000);
  a.stop.abort();
  expect(await a.ended).toBe('stopped');
  expect(lease.holder).toBe('');
  await clock.advance(2500);
  expect(lease.holder).toBe(b.election.identity);
  b.stop.abort();
  await b.ended;
});

test('the clocks of the two machines do not matter', async () => {
  const a = join('a');
  await settled();
  const ahead = new ManualClock(clock.nowMs() + 86_400_000);
  const b = join('b', { clock: ahead });
  for (let second = 0; second < 60; second++) {
    await clock.advance(1000);
    await ahead.advance(1000);
  }
  expect(a.term).not.toBeNull();
  expect(b.term).toBeNull();
  for (const each of [a, b]) each.stop.abort();
  await ahead.advance(3000);
  await Promise.all([a.ended, b.ended]);
});

test('a leader that cannot renew stops before anybody may follow it', async () => {
  const a = join('a');
  await settled();
  lease.down = true;
  await clock.advance(9000);
  expect(a.term).not.toBeNull();
  await clock.advance(3000);
  expect(a.term).toBeNull();
  expect(await a.ended).toContain('could not be renewed');
});

test('a leader that finds another name in the lease stops at once', async () => {
  const a = join('a');
  await settled();
  const spec = { ...(lease.object?.['spec'] as object), holderIdentity: 'somebody else' };
  await lease.replace(null, { ...lease.object, spec } as unknown as KubeIntent);
  await clock.advance(2000);
  expect(await a.ended).toContain('another process took the lease');
  expect(lease.holder).toBe('somebody else');
});

test('a leader that resigns ends with the reason', async () => {
  const a = join('a');
  await settled();
  a.term?.resign(new AppError('conflict', 'a store knows a newer term'));
  expect(await a.ended).toBe('a store knows a newer term');
});

test('a lease deleted and made again gives a later fence although its transitions start anew', async () => {
  const a = join('a');
  await settled();
  const first = fenceOf(a);
  lease.object = null;
  await clock.advance(2000);
  expect(await a.ended).toContain('another process');
  await clock.advance(60_000);
  const b = join('b');
  await settled();
  expect(fenceOf(b).leaseCreatedMs).toBeGreaterThan(first.leaseCreatedMs);
  b.stop.abort();
  await b.ended;
});

test('no two terms ever overlap when leaders come and go', async () => {
  const fences: string[] = [];
  for (let round = 0; round < 10; round++) {
    const candidate = join(`process-${round}`);
    await clock.advance(20_000);
    const fence = fenceOf(candidate);
    fences.push(`${fence.leaseCreatedMs}/${fence.transitions}`);
    candidate.stop.abort();
    await candidate.ended;
  }
  expect(new Set(fences).size).toBe(10);
});
