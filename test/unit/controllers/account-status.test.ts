import { expect, test } from 'vitest';
import { PlannedMoves } from '#operator/controllers/glmaccount/planned-moves.ts';
import { AccountStatus, type AccountStatusOptions } from '#operator/controllers/glmaccount/status.ts';
import type { ReportFacts } from '#operator/controllers/node-status/reports.ts';
import type { SyncState } from '#operator/controllers/node-status/sync-state.ts';
import { AppError } from '#sidecar/base/errors.ts';
import { node, treeOf } from '#test/support/engine.ts';
import { ManualClock } from '../runtime/manual-clock.ts';

const TREE = treeOf([node('account', null, { concurrency: 2 })]);
const BEFORE = { request: '2026-11-20T10:30:00Z', result: 'Declared', at: '2026-11-20T10:00:00Z' };

test('W2 a move that cannot be declared is tried again, and the rest of the status is told all the same', async () => {
  const reported: Pick<ReportFacts, 'plannedMove' | 'tree'>[] = [];
  const moves = new PlannedMoves({
    engine: { declareMove: async () => undefined },
    servers: {
      list: async () => {
        throw new AppError('unavailable', 'one master is away');
      },
    },
    recorder: { record: () => undefined },
    clock: new ManualClock(Date.parse('2026-11-21T10:00:00Z')),
  });
  const account = {
    uid: 'uid-1',
    annotations: { 'glmquota.io/planned-move': '2026-11-21T10:30:00Z' },
    status: { plannedMove: BEFORE },
  };
  const compiled = { tree: TREE, treeKey: TREE.key, verdict: { reason: 'AccountReady' } };
  const sync = { kind: 'applied', snapshot: { configHash: 'hash' } } as SyncState;
  const status = new AccountStatus({
    world: { current: { accounts: new Map([['glm/max', compiled]]) }, generationOf: () => 1 },
    board: { get: () => sync },
    hashes: { of: () => 'hash' },
    accounts: { get: () => account },
    reports: { report: async (_: unknown, facts: ReportFacts) => void reported.push(facts) },
    moves,
    client: { get: async () => null },
  } as unknown as AccountStatusOptions);
  const { signal } = new AbortController();
  await expect(status.reconcile('glm/max', signal)).rejects.toMatchObject({ code: 'unavailable' });
  expect(reported).toMatchObject([{ tree: TREE, plannedMove: BEFORE }]);
});
