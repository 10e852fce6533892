/** Guards of the waiting room's order (Q1 to Q9), each found missing a test by `test/proof/mutation`. */
import { expect, test } from 'vitest';
import type { Grant } from '#sidecar/engine/terms.ts';
import type { NodeConfig } from '#sidecar/engine/tree-terms.ts';
import { limit, node, NOTHING, ONE, request, settlement, START_MS } from '#test/support/engine.ts';
import { useEngine } from './fixture.ts';
import { useOwners } from './waiting-fixture.ts';
import { models, useWaitingRoom, WAIT } from './waiting-room.ts';

const rules = useEngine();
const { wait, queue, served, serveAll } = useWaitingRoom(rules);
const { stillWaits } = useOwners(rules);
const SYSTEM = { class: 'System' } as const;

const tree = async (account: Partial<NodeConfig>, team: Partial<NodeConfig> = {}): Promise<void> =>
  rules.engine.configure([node('account', null, account), ...models, node('quota:team', 'account', team)]);
const TEAM = { leaf: 'quota:team' } as const;
const fixed = { type: 'Fixed', durationMs: 60_000 } as const;
const tokens = (amount: number) => [limit('tokens', amount, { resource: 'Tokens', window: fixed })];
const using = (inputTokens: number) => ({ reserve: { ...ONE, inputTokens } });

test('no barging: a slot whose hold ended in this very call goes to who is parked for it', async () => {
  await tree({}, { concurrency: 1 });
  const grant = await rules.grant('1', TEAM);
  await queue('2', TEAM);
  await rules.settle(grant, { holdMs: 2000 });
  await rules.engine.advance(2000);
  expect(await rules.acquire('3', { ...TEAM, flowKey: 'another' })).toMatchObject({ reason: 'Waiting' });
  expect(await served('2')).toMatchObject({ kind: 'granted' });
});

test('no barging: a slot of the account whose hold ended in this very call goes to who waits for it', async () => {
  await tree({ concurrency: 1 });
  const grant = await rules.grant('1');
  await queue('2');
  await rules.settle(grant, { holdMs: 2000 });
  await rules.engine.advance(2000);
  expect(await rules.acquire('3', { flowKey: 'another' })).toMatchObject({ reason: 'Waiting' });
  expect(await served('2')).toMatchObject({ kind: 'granted' });
});

test('no barging: a small call does not pass a large one of its own sub-queue', async () => {
  await tree({ limits: tokens(100) });
  await rules.grant('1', using(60));
  await queue('large', using(80));
  await queue('small', using(20));
});

test('no barging: a token of the rate that is there by now goes to who waited for it', async () => {
  await tree({}, { rate: { intervalUs: 10_000_000, burst: 1 } });
  await rules.grant('1', TEAM);
  await queue('2', TEAM);
  await rules.engine.advance(10_000);
  expect(await rules.acquire('3', { ...TEAM, flowKey: 'another' })).toMatchObject({ reason: 'Waiting' });
  expect(await served('2')).toMatchObject({ kind: 'granted' });
});

test('Q1 calls that scope nodes count apart do not wait for each other', async () => {
  const scope = { models: [], tools: ['search'], capabilities: [], sources: [], users: [], pools: [], namespaces: [] };
  await rules.engine.configure([
    node('account', null),
    ...models,
    node('scope:search', 'account', { concurrency: 1, scope: { ...scope, unset: 'Skip' } }),
  ]);
  await rules.grant('1', { attributes: { tool: 'search' } });
  await queue('2', { attributes: { tool: 'search' } });
  expect(await wait('3', { attributes: { tool: 'edit' } })).toMatchObject({ kind: 'granted' });
});

test('Q1 each fairness key of a leaf has its share', async () => {
  await tree({ concurrency: 1 });
  const grant = await rules.grant('0');
  const waiting = ['a1', 'a2', 'a3', 'b1'].map((id) => ({ id, owner: 'pod-1' }));
  for (const { id } of waiting) await queue(id, { flowKey: id.slice(0, 1) });
  expect((await serveAll(grant, waiting)).indexOf('b1')).toBeLessThan(2);
});

test('Q3 a stop that excepts a class does not keep that class waiting behind the others', async () => {
  const stop = { name: 'night', fromMs: START_MS, untilMs: START_MS + 50_000, except: ['System'] } as const;
  await tree({ concurrency: 4, stops: [stop] });
  const holders = [await rules.grant('s1', SYSTEM), await rules.grant('s2', SYSTEM)];
  await queue('n');
  await queue('s3', SYSTEM);
  await rules.settle(holders[0]!);
  expect(await served('s3')).toMatchObject({ kind: 'granted' });
});

/** A large call is passed by small ones of another model until the window is kept free for it. */
async function guarded(leaf: string, small = 8): Promise<readonly Grant[]> {
  const holders: Grant[] = [];
  for (const id of ['1', '2', '3'])
    holders.push(await rules.grant(`${leaf}${id}`, { leaf, ...using(10), model: 'glm-4' }));
  await queue(`${leaf}large`, { leaf, ...using(90) });
  for (let call = 0; call < small; call++) {
    const passing = await rules.grant(`${leaf}small${call}`, { leaf, ...using(1), model: 'glm-4' });
    await rules.settle(passing, { actual: NOTHING });
  }
  return holders;
}
const small = (leaf: string, id: string, inputTokens = 1) =>
  rules.acquire(`${leaf}${id}`, { leaf, ...using(inputTokens), model: 'glm-4' });

test('Q5 no window is kept free for a call that does not fit even when nothing is in flight', async () => {
  await tree({}, { limits: tokens(100) });
  await rules.settle(await rules.grant('1', { ...TEAM, ...using(50) }), { actual: { ...ONE, inputTokens: 50 } });
  await queue('large', { ...TEAM, ...using(60), wait: { ...WAIT, maxWaitMs: 70_000 } });
  for (let call = 0; call < 9; call++) expect(await small('quota:team', `${call}`)).toMatchObject({ kind: 'granted' });
});

test('Q5 a tree keeps one window free at a time', async () => {
  await rules.engine.configure([
    node('account', null),
    ...models,
    ...['quota:a', 'quota:b'].map((name) => node(name, 'account', { limits: tokens(100) })),
  ]);
  await guarded('quota:a');
  await guarded('quota:b');
  expect(await small('quota:a', 'more')).toMatchObject({ reason: 'Waiting' });
  expect(await small('quota:b', 'more')).toMatchObject({ kind: 'granted' });
});

test('Q5 a window is kept free no longer than this can help', async () => {
  await tree({}, { limits: tokens(100) });
  const [holder] = await guarded('quota:team');
  expect(await small('quota:team', 'before')).toMatchObject({ reason: 'Waiting' });
  await rules.settle(holder!, { actual: { ...ONE, inputTokens: 20 } });
  expect(await small('quota:team', 'after')).toMatchObject({ kind: 'granted' });
});

test('Q5 calls that take nothing of a window neither pass who waits for it, nor wait with it', async () => {
  await tree({}, { limits: tokens(100) });
  await guarded('quota:team', 7);
  for (const id of ['a', 'b']) expect(await small('quota:team', id, 0)).toMatchObject({ kind: 'granted' });
  expect(await small('quota:team', 'eighth')).toMatchObject({ kind: 'granted' });
  expect(await small('quota:team', 'ninth')).toMatchObject({ reason: 'Waiting' });
  expect(await small('quota:team', 'c', 0)).toMatchObject({ kind: 'granted' });
});

test('Q7 a retry of a lease that is not held any more is over', async () => {
  await tree({});
  const grant = await rules.grant('1');
  const gone = settlement('1', grant.fence + 1, { outcome: 'refusedRate' });
  expect(await rules.engine.sidecar.swap(gone, request('1'))).toEqual({
    settled: { kind: 'unknown' },
    verdict: { kind: 'done' },
  });
});

test('Q7 a retry that is denied is over', async () => {
  await tree({ concurrency: 1 });
  const grant = await rules.grant('1');
  const refused = settlement('1', grant.fence, { outcome: 'refusedRate', holdMs: 2000 });
  const swapped = await rules.engine.sidecar.swap(refused, request('1'));
  expect(swapped.verdict).toMatchObject({ kind: 'denied' });
  expect(await rules.acquire('1')).toEqual({ kind: 'done' });
});

test('Q7 a retry with stale paths is over', async () => {
  await tree({});
  const grant = await rules.grant('1');
  const refused = settlement('1', grant.fence, { outcome: 'refusedOverload' });
  const swapped = await rules.engine.sidecar.swap(refused, request('1', { generation: 9 }));
  expect(swapped.verdict).toMatchObject({ kind: 'stale' });
  expect(await rules.acquire('1')).toEqual({ kind: 'done' });
});

test('Q7 a draining process may try its calls again, and gets nothing new by swap', async () => {
  await tree({});
  const owner = 'pod-1/a';
  const grant = await rules.grant('1', { owner });
  await rules.engine.admin.drain(rules.treeKey, 'pod-1', true);
  const again = settlement('1', grant.fence, { outcome: 'failedBeforeFirstByte' });
  const { verdict } = await rules.engine.sidecar.swap(again, request('1', { owner, wait: WAIT }));
  expect(verdict).toMatchObject({ kind: 'queued' });
  await rules.engine.advance(4000);
  const retried = await rules.acquire('1', { owner, wait: WAIT });
  await rules.engine.sidecar.tick();
  const held = retried.kind === 'granted' ? retried : await served('1', owner);
  const swapped = await rules.engine.sidecar.swap(settlement('1', held.fence), request('2', { owner }));
  expect(swapped).toMatchObject({ settled: { kind: 'settled' }, verdict: { reason: 'Draining' } });
});

test('Q8 with one slot class System does not wait for others who are not there', async () => {
  await tree({ concurrency: 1 });
  const grant = await rules.grant('s1', SYSTEM);
  await queue('s2', SYSTEM);
  await rules.settle(grant);
  expect(await served('s2')).toMatchObject({ kind: 'granted' });
});

test('Q9 a swap asks as a newcomer of its flow', async () => {
  await tree({ concurrency: 1 });
  const first = await rules.grant('1');
  await queue('2');
  await rules.settle(first);
  const second = await served('2');
  await queue('3');
  await queue('4');
  const { verdict } = await rules.engine.sidecar.swap(settlement('2', second.fence), request('5', { wait: WAIT }));
  expect(verdict).toMatchObject({ kind: 'queued', position: 2 });
});

test('who asks again with more patience waits longer', async () => {
  await tree({ concurrency: 1 });
  await rules.grant('1');
  await queue('2', { wait: { ...WAIT, maxWaitMs: 1000 } });
  await queue('2');
  await rules.engine.advance(1000);
  await rules.engine.sidecar.tick();
  await stillWaits('2');
});

test('a denial of a waiter is published to its owner', async () => {
  await tree({ concurrency: 1 });
  await rules.grant('1');
  await queue('2', { owner: 'pod-2', wait: { ...WAIT, maxWaitMs: 1000 } });
  const heard = rules.heardBy('pod-2');
  await heard.listening;
  await rules.engine.advance(1000);
  await rules.engine.sidecar.tick();
  expect(await heard.next()).toMatchObject({ kind: 'denied', id: '2', denial: { reason: 'Concurrency' } });
});
