import { beforeEach, expect, test } from 'vitest';
import { PlannedMoves } from '#operator/controllers/glmaccount/planned-moves.ts';
import type { Observed } from '#operator/controllers/world/kinds.ts';
import { AppError } from '#sidecar/base/errors.ts';
import type { RedisServer } from '#sidecar/engine/servers.ts';
import { ManualClock } from '../runtime/manual-clock.ts';

const { signal } = new AbortController();
const REQUEST = '2026-11-21T10:30:00Z';

let clock: ManualClock;
let servers: RedisServer[];
let declared: unknown[];
let isAway: boolean;
let events: string[];
let moves: PlannedMoves;

function server(name: string, isMaster = true): RedisServer {
  const sections: Record<string, string> = {
    server: `run_id:run${name}\r\n`,
    replication: `master_replid:replid${name}\r\n`,
  };
  return { address: name, isMaster, call: async (_, section) => `# About\r\n${sections[String(section)]}` };
}

function account(request?: string, status: unknown = {}): Observed<unknown> {
  const annotations = request === undefined ? {} : { 'glmquota.io/planned-move': request };
  return { uid: 'uid-1', namespace: 'glm', name: 'max', annotations, status } as unknown as Observed<unknown>;
}

beforeEach(() => {
  clock = new ManualClock(Date.parse('2026-11-21T10:00:00Z'));
  servers = [server('A'), server('B'), server('R', false)];
  [declared, events, isAway] = [[], [], false];
  moves = new PlannedMoves({
    engine: {
      declareMove: async (tree, move) => {
        if (isAway) throw new AppError('unavailable', 'Redis is away');
        declared.push([tree, move.identities, new Date(move.untilMs).toISOString()]);
      },
    },
    servers: { list: async () => servers },
    recorder: { record: (_, { reason, note }) => void events.push(`${reason} ${note.split(': ')[1]}`) },
    clock,
  });
});

test('nothing is declared that nobody asked for', async () => {
  expect(await moves.apply(account(), 'tree', signal)).toBeNull();
  expect([declared, events]).toEqual([[], []]);
});

test('W2 a move is declared once, between the masters of now, told and echoed', async () => {
  const echo = { request: REQUEST, result: 'Declared', at: '2026-11-21T10:00:00Z' };
  expect(await moves.apply(account(REQUEST), 'tree', signal)).toEqual(echo);
  await clock.advance(5000);
  expect(await moves.apply(account(REQUEST), 'tree', signal)).toEqual(echo);
  expect(declared).toEqual([['tree', ['runA/replidA', 'runB/replidB'], '2026-11-21T10:30:00.000Z']]);
  expect(events).toEqual([`PlannedMoveDeclared ${REQUEST}`]);
});

test('what the status says was done is not done again by the next leader', async () => {
  const plannedMove = { request: REQUEST, result: 'Declared', at: '2026-11-21T09:59:00Z' };
  expect(await moves.apply(account(REQUEST, { plannedMove }), 'tree', signal)).toEqual(plannedMove);
  expect([declared, events]).toEqual([[], []]);
});

test('a declaration that Redis could not be told is made later', async () => {
  isAway = true;
  await expect(moves.apply(account(REQUEST), 'tree', signal)).rejects.toMatchObject({ code: 'unavailable' });
  isAway = false;
  expect(await moves.apply(account(REQUEST), 'tree', signal)).toMatchObject({ result: 'Declared' });
});

test.each([
  ['five-hour', 'Malformed'],
  ['2026-11-21T09:59:59Z', 'Outdated'],
  ['2026-11-22T10:00:01Z', 'TooFar'],
])('%s is refused as %s', async (request, result) => {
  expect(await moves.apply(account(request), 'tree', signal)).toMatchObject({ request, result });
  expect(declared).toEqual([]);
  expect(events).toHaveLength(1);
});

test('a Redis with one master has nothing to declare', async () => {
  servers = [server('A'), server('R', false)];
  expect(await moves.apply(account(REQUEST), 'tree', signal)).toMatchObject({ result: 'NoCluster' });
  expect(declared).toEqual([]);
});
