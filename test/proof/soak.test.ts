/** A day in a quarter of an hour: every kind of call on a deep tree, and a fault every few seconds (rules F5, N1). */
import { expect, test } from 'vitest';
import { ledgerKey } from '#sidecar/engine/ledger/read.ts';
import type { CallRecord } from '#test/support/glm-simulator/ledger.ts';
import { isFull, leftOut } from './mode.ts';
import type { Load } from './stand/load.ts';
import { peak, sweep } from './stand/oracle.ts';
import { passed } from './stand/passed.ts';
import { COUNTINGS, recount, straddling } from './stand/recount.ts';
import * as soak from './stand/soak.ts';
import { Stand } from './stand/stand.ts';
import { openSingle, type SingleStore } from './stand/stores.ts';
import { TREE_KEY } from './stand/tree.ts';

const MINUTE_MS = 60_000;
const LENGTH_MS = isFull ? 15 * MINUTE_MS : MINUTE_MS;
const BETWEEN_FAULTS_MS = isFull ? 10_000 : 5000;
/** By the end of this round, the third with a fault of four seconds, a window has ended. */
const STRADDLED_ROUND = 2;
const MIB = 1024 * 1024;
/** What the chart gives a sidecar. */
const SIDECAR_BYTES = 256 * MIB;
const GROWTH_BYTES = 32 * MIB;
/** The simulator's book keeps so many calls. */
const BOOK_CALLS = 20_000;

interface Sample {
  readonly sidecarBytes: number;
  /** Without the ledger, which has a budget of its own. */
  readonly storeBytes: number;
}

async function sample({ sidecars, store }: Stand<SingleStore>): Promise<Sample> {
  const { redis } = store.operator;
  const used = Number(/^used_memory:(\d+)/m.exec(String(await redis.info('memory')))?.[1]);
  const ledger = Number(await redis.call('MEMORY', 'USAGE', ledgerKey(TREE_KEY), 'SAMPLES', '0'));
  return { sidecarBytes: await sidecars[0]!.memoryBytes(), storeBytes: used - ledger };
}

/** By how much the most of the last third is above the most of the second. */
function growth(samples: readonly number[]): number {
  const third = Math.floor(samples.length / 3);
  return Math.max(...samples.slice(2 * third)) - Math.max(...samples.slice(third, 2 * third));
}

/** The vendor answered it, and our side heard of that before it ended. */
function isAnswered({ ending, isStream, startMs, endMs }: CallRecord): boolean {
  return ending === 'Completed' || (ending === 'ClientClosed' && isStream && endMs - startMs > 250);
}

function peakOf(calls: readonly CallRecord[], isOf: (call: CallRecord) => boolean): number {
  return peak(sweep(calls.filter(isOf)));
}

/** Most calls at once of each limited node, beside its limit. */
function peaks(calls: readonly CallRecord[], loads: readonly Load[]): readonly (readonly [string, number, number])[] {
  const squads = loads.map(({ seen }) => new Set<string | null>(seen.map(({ id }) => id)));
  const inSquad = (index: number) => (call: CallRecord) => squads[index]?.has(call.clientId) ?? false;
  const teams = (['a', 'b'] as const).map((team) => {
    const of = soak.SQUADS.flatMap((squad, index) => (squad.team === team ? [inSquad(index)] : []));
    return [`team ${team}`, peakOf(calls, (call) => of.some((isOf) => isOf(call))), soak.TEAM_SLOTS[team]] as const;
  });
  const models = Object.entries(soak.MODEL_SLOTS).map(
    ([model, slots]) => [model, peakOf(calls, (call) => call.model === model), slots] as const,
  );
  const single = soak.SQUADS.map(
    ({ slots }, index) => [`squad ${index}`, peakOf(calls, inSquad(index)), slots ?? soak.ACCOUNT_SLOTS] as const,
  );
  return [...teams, ...models, ...single];
}

test('F5 soak: faults every few seconds on a deep tree; no limit is exceeded, no counter drifts, memory does not grow', async () => {
  leftOut('fourteen of fifteen minutes of the soak');
  await using stand = await Stand.open({
    name: 'soak',
    store: await openSingle(soak.SQUADS.length, { durable: true }),
    concurrency: soak.ACCOUNT_SLOTS,
    sidecars: soak.SQUADS.length,
    tree: soak.soakTree(soak.ACCOUNT_SLOTS),
    binding: soak.bindingOf,
  });
  const loads = soak.SQUADS.map((_, index) =>
    stand.load({ callers: 4, next: soak.anyCall, through: () => [stand.sidecars[index]!] }),
  );
  // Where a window is used up early, no other call runs at its end.
  const straddler = stand.call(0, { text: '[[sim midhold=straddle tokens=40]]', stream: true });
  const samples: Sample[] = [];
  const startedMs = performance.now();
  for (let round = 0; performance.now() - startedMs < LENGTH_MS; round++) {
    await passed(BETWEEN_FAULTS_MS);
    samples.push(await sample(stand));
    const fault = soak.FAULTS[round % soak.FAULTS.length]!;
    await stand.mark(fault.name);
    await fault.run(stand, 1 + (round % (soak.SQUADS.length - 1)));
    await stand.holds(soak.ACCOUNT_SLOTS);
    if (round === STRADDLED_ROUND) await stand.control.release('straddle');
  }
  expect((await straddler).status).toBe(200);
  const { calls, marks } = await stand.proves(soak.ACCOUNT_SLOTS);
  expect(calls.length + marks.length).toBeLessThan(BOOK_CALLS);
  for (const [name, most, slots] of peaks(calls, loads))
    expect({ name, most: Math.min(most, slots) }).toEqual({ name, most });

  const answered = calls.filter(isAnswered);
  const used = COUNTINGS.map((by) => Math.max(...recount(answered, soak.WINDOW_MS, by).map((span) => span.used)));
  expect(Math.max(...used)).toBeLessThanOrEqual(soak.WINDOW_PROMPTS);
  // Else it was not the window that held them back.
  expect(Math.max(...used)).toBeGreaterThanOrEqual(soak.WINDOW_PROMPTS - soak.ACCOUNT_SLOTS);
  expect(straddling(answered, soak.WINDOW_MS)).toBeGreaterThan(0);

  const account = (await stand.operator.tree()).nodes.find(({ name }) => name === 'account');
  const charged = account?.usage.find(({ limit }) => limit === 'five-hour')?.used ?? 0;
  const sent = new Set(calls.map(({ clientId }) => clientId));
  const unsent = loads.flatMap(({ seen }) => seen).filter(({ id, status }) => status === 0 && !sent.has(id));
  expect(charged).toBeGreaterThanOrEqual(answered.length);
  expect(charged).toBeLessThanOrEqual(calls.length + unsent.length);

  expect(Math.max(...samples.map(({ sidecarBytes }) => sidecarBytes))).toBeLessThan(SIDECAR_BYTES);
  expect(growth(samples.map(({ sidecarBytes }) => sidecarBytes))).toBeLessThan(GROWTH_BYTES);
  expect(growth(samples.map(({ storeBytes }) => storeBytes))).toBeLessThan(GROWTH_BYTES);
  const [kept] = samples.slice(-1);
  const [sidecarMib, storeMib] = [kept!.sidecarBytes / MIB, kept!.storeBytes / MIB].map((mib) => mib.toFixed(1));
  console.log(
    `soak: ${samples.length} faults, ${stand.operator.audits} audits, at most ${Math.max(...used)} of ${soak.WINDOW_PROMPTS} prompts a window, sidecar ${sidecarMib} MiB, Redis ${storeMib} MiB`,
  );
}, 1_200_000);
