import { beforeEach, describe, expect, test } from 'vitest';
import { tickTrees } from '#operator/controllers/glmaccount/ticker.ts';
import { Upkeep, type UpkeepOptions } from '#operator/controllers/glmaccount/upkeep.ts';
import { createTreeMetrics } from '#operator/controllers/metrics.ts';
import { SyncBoard } from '#operator/controllers/node-status/sync-state.ts';
import { TreeHashes } from '#operator/controllers/world/tree-hashes.ts';
import { AppError } from '#sidecar/base/errors.ts';
import { createLog } from '#sidecar/base/log.ts';
import { createRegistry } from '#sidecar/base/metrics.ts';
import type { AuditReport, NodeSnapshot, TreeSnapshot } from '#sidecar/engine/terms.ts';
import type { TreeConfig } from '#sidecar/engine/tree-terms.ts';
import { node, treeOf } from '#test/support/engine.ts';
import { ManualClock } from '../runtime/manual-clock.ts';

const TREE = treeOf([node('account', null, { concurrency: 2 })]);
const REVISION = { leaseCreatedMs: 1, transitions: 2, generation: 3 };
const log = createLog('silent');
const { signal } = new AbortController();

function snapshotOf(key: string, queued: number): TreeSnapshot {
  const counts = { inFlight: 0, concurrency: null, stopped: false, frozenUntilMs: null, usage: [] };
  const account: NodeSnapshot = {
    name: 'account',
    breaker: 'Closed',
    rateWaitUs: 0,
    oldestWaiterMs: null,
    ...counts,
    queued,
  };
  return { key, epoch: 1, revision: REVISION, configHash: 'h', serverNowMs: 0, nodes: [account], leases: 0 };
}

describe('upkeep of a tree', () => {
  let clock: ManualClock;
  let held: () => TreeConfig | null;
  let fingerprint: string;
  let report: () => AuditReport;
  let calls: string[];
  let events: string[];
  let upkeep: Upkeep;
  let mayRotate: boolean;
  let heldRevision: typeof REVISION;
  let notes: string[];
  let options: UpkeepOptions;

  beforeEach(() => {
    clock = new ManualClock();
    held = () => TREE;
    fingerprint = 'as it was written';
    report = () => ({ key: TREE.key, leases: 0, drifts: [] });
    calls = [];
    events = [];
    notes = [];
    mayRotate = true;
    heldRevision = REVISION;
    const engine = {
      hashOf: (tree: TreeConfig) => JSON.stringify(tree),
      config: async () => {
        calls.push('config');
        return held();
      },
      fingerprint: async () => {
        calls.push('fingerprint');
        return fingerprint;
      },
      snapshot: async () => ({ ...snapshotOf(TREE.key, 0), revision: heldRevision }),
      configure: async (tree: TreeConfig, revision: typeof REVISION) => {
        calls.push(`configure ${tree === TREE} ${revision.generation}`);
        return { kind: 'applied' as const, generation: revision.generation };
      },
      audit: async () => {
        calls.push('audit');
        return report();
      },
    };
    const recorder = {
      record: (_: unknown, event: { reason: string; note: string }) => {
        events.push(event.reason);
        notes.push(event.note);
      },
    };
    const metrics = createTreeMetrics(createRegistry());
    const rotate = async ({ namespace, name }: TreeConfig['account']): Promise<void> => {
      calls.push(`rotate ${namespace}/${name}`);
      if (!mayRotate) throw new AppError('unavailable', 'the API server is away');
    };
    options = { engine, hashes: new TreeHashes(engine), recorder, rotate, clock, log, metrics };
    upkeep = new Upkeep(options);
  });

  /** Looks each three seconds, as the controller does. */
  async function lookFor(ms: number): Promise<string[]> {
    for (let passed = 0; passed <= ms; passed += 3000) {
      await upkeep.look(TREE, REVISION, signal);
      await clock.advance(3000);
    }
    return calls.splice(0);
  }

  test('W5 the record is compared about every ten seconds, and left alone while it is ours', async () => {
    const compared = Array.from({ length: 5 }, () => ['config', 'fingerprint']).flat();
    expect(await lookFor(60_000)).toEqual(['configure true 3', 'fingerprint', ...compared]);
    expect(events).toEqual([]);
  });

  test.each<[string, () => TreeConfig | null]>([
    ['was changed', () => treeOf([node('account', null, { concurrency: 99 })])],
    ['is gone', () => null],
    [
      'cannot be read',
      () => {
        throw new SyntaxError('no JSON');
      },
    ],
  ])('W5 a record that %s is written again under the same revision, and told', async (_, tampered) => {
    await lookFor(0);
    held = tampered;
    await clock.advance(10_000);
    await upkeep.look(TREE, REVISION, signal);
    expect(calls).toEqual(['config', 'rotate glm/max', 'configure true 3', 'fingerprint']);
    expect(events).toEqual(['ConfigRepaired']);
    expect(notes).toEqual([expect.stringContaining('get another password')]);
  });

  test.each([
    ['leads by a later term', { ...REVISION, transitions: 3 }],
    ['leads by a Lease made anew', { ...REVISION, leaseCreatedMs: 2, transitions: 0 }],
  ])('W5 a record of somebody who %s is left alone, and no password changes', async (_, revision) => {
    await lookFor(0);
    held = () => treeOf([node('account', null, { concurrency: 99 })]);
    heldRevision = revision;
    await clock.advance(10_000);
    await upkeep.look(TREE, REVISION, signal);
    expect([calls, events]).toEqual([['config'], []]);
  });

  test('W5 where sidecars share one user a repair changes no password, and claims none', async () => {
    upkeep = new Upkeep({ ...options, rotate: null });
    await lookFor(0);
    held = () => null;
    await clock.advance(10_000);
    await upkeep.look(TREE, REVISION, signal);
    expect(calls).toEqual(['config', 'configure true 3', 'fingerprint']);
    expect(notes).toEqual([expect.stringContaining('which the operator cannot give another password')]);
  });

  test('W5 a record of which only what the engine goes by was changed is not ours either', async () => {
    await lookFor(0);
    fingerprint = 'with another limit';
    await clock.advance(10_000);
    await upkeep.look(TREE, REVISION, signal);
    expect(calls).toEqual(['config', 'fingerprint', 'rotate glm/max', 'configure true 3', 'fingerprint']);
    expect(events).toEqual(['ConfigRepaired']);
    calls = [];
    await clock.advance(10_000);
    await upkeep.look(TREE, REVISION, signal);
    expect(calls).toEqual(['config', 'fingerprint']);
  });

  test('W5 a record is not repaired before the password was changed: else nobody would change it later', async () => {
    await lookFor(0);
    held = () => null;
    mayRotate = false;
    await clock.advance(10_000);
    await expect(upkeep.look(TREE, REVISION, signal)).rejects.toMatchObject({ code: 'unavailable' });
    mayRotate = true;
    await upkeep.look(TREE, REVISION, signal);
    expect(calls).toEqual(['config', 'rotate glm/max', 'config', 'rotate glm/max', 'configure true 3', 'fingerprint']);
  });

  test('a Redis that cannot be asked says nothing of the record', async () => {
    await lookFor(0);
    held = () => {
      throw new AppError('unavailable', 'Redis is away');
    };
    await clock.advance(10_000);
    await expect(upkeep.look(TREE, REVISION, signal)).rejects.toMatchObject({ code: 'unavailable' });
    expect(calls).toEqual(['config']);
  });

  test('counters are audited every ten minutes; a drift is told', async () => {
    await lookFor(0);
    report = () => ({
      key: TREE.key,
      leases: 1,
      drifts: [{ node: 'account', counter: 'inFlight', stored: 2, recounted: 1 }],
    });
    expect((await lookFor(1_200_000)).filter((call) => call === 'audit')).toHaveLength(2);
    expect(events).toEqual(['AuditFailed', 'AuditFailed']);
  });

  test('an audit that fails is tried again with the next, and fails nothing else', async () => {
    await lookFor(0);
    report = () => {
      throw new AppError('unavailable', 'busy');
    };
    expect((await lookFor(1_200_000)).filter((call) => call === 'audit')).toHaveLength(2);
    expect(events).toEqual([]);
  });
});

describe('ticking', () => {
  test('every tree with waiters is ticked once a second, the others never', async () => {
    const clock = new ManualClock();
    const board = new SyncBoard();
    const ticked: string[] = [];
    const tick = async (key: string) => {
      ticked.push(key);
      if (key === 'bad') throw new AppError('unavailable', 'Redis is away');
      return { serverNowMs: 0, nextTickMs: null };
    };
    board.set('glm/a', { kind: 'applied', snapshot: snapshotOf('bad', 1) });
    board.set('glm/b', { kind: 'applied', snapshot: snapshotOf('waiting', 2) });
    board.set('glm/c', { kind: 'applied', snapshot: snapshotOf('quiet', 0) });
    board.set('glm/d', { kind: 'away', message: 'gone', snapshot: snapshotOf('away', 2) });
    const stop = new AbortController();
    const running = tickTrees({ board, engine: { tick }, clock, log }, stop.signal);
    await clock.advance(2000);
    board.set('glm/b', { kind: 'applied', snapshot: snapshotOf('waiting', 0) });
    await clock.advance(1000);
    stop.abort();
    await running;
    expect(ticked).toEqual(['bad', 'waiting', 'bad', 'waiting', 'bad']);
  });
});
