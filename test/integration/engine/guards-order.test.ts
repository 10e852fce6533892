/** Guards of order, here and at bottlenecks (Q2 to Q5), each found missing a test by `test/proof/mutation`. */
import { expect, test } from 'vitest';
import type { Grant } from '#sidecar/engine/terms.ts';
import type { NodeConfig } from '#sidecar/engine/tree-terms.ts';
import { limit, node, NOTHING, ONE, START_MS } from '#test/support/engine.ts';
import { useEngine } from './fixture.ts';
import { useOwners } from './waiting-fixture.ts';
import { useWaitingRoom, WAIT, type Waiting } from './waiting-room.ts';

const rules = useEngine();
const { wait, queue, served, fates, serveAll } = useWaitingRoom(rules);
const { beat } = useOwners(rules);
const MODEL = 'model:glm-5.3';

/** Leaves a, b, n, r, and one where a call waits for ever, so that grants are accounted. */
async function leaves(account: Partial<NodeConfig>, model: Partial<NodeConfig> = {}): Promise<void> {
  await rules.engine.configure([
    node('account', null, account),
    node(MODEL, 'account', model),
    node('model:glm-4', 'account'),
    node('model:other', 'account'),
    ...['a', 'b', 'n', 'r'].map((name) => node(`quota:${name}`, 'account')),
    node('quota:full', 'account', { concurrency: 0 }),
  ]);
  await queue('waits for ever', { leaf: 'quota:full' });
}

/** A call of a leaf named like its first letter. */
const of = (id: string) => ({ leaf: `quota:${id.slice(0, 1)}` });

/** Gives a leaf grants of another model, which put it behind the others. */
async function had(leaf: string, grants: number): Promise<void> {
  for (let call = 0; call < grants; call++) {
    await rules.settle(await rules.grant(`${leaf} had ${call}`, { ...of(leaf), model: 'glm-4' }));
  }
}

async function order(holder: Grant, ...ids: string[]): Promise<readonly string[]> {
  return serveAll(
    holder,
    ids.map((id): Waiting => ({ id, owner: 'pod-1' })),
  );
}

test('Q2 who comes back from a bottleneck stands beside the others there, not before them', async () => {
  await leaves({ concurrency: 1 });
  await rules.engine.admin.freeze(rules.treeKey, 'quota:a', START_MS + 50_000);
  const holder = await rules.grant('holder', { model: 'glm-4' });
  for (const id of ['r1', 'n1', 'r2', 'n2', 'a1']) await queue(id, of(id));
  await rules.settle(holder);
  await rules.settle(await served('r1'));
  await rules.settle(await served('n1'));
  const third = await served('r2');
  await rules.engine.admin.freeze(rules.treeKey, 'quota:a', null);
  expect(await order(third, 'n2', 'a1')).toEqual(['n2', 'a1']);
});

test('Q2 room for two at a model goes to two leaves, whatever they had elsewhere', async () => {
  await leaves({}, { concurrency: 2 });
  await rules.engine.admin.freeze(rules.treeKey, MODEL, START_MS + 50_000);
  for (const id of ['a1', 'a2']) await queue(id, of(id));
  await had('b', 3);
  for (const id of ['b1', 'b2']) await queue(id, of(id));
  await rules.engine.admin.freeze(rules.treeKey, MODEL, null);
  expect([...(await fates('pod-1', 'a1', 'a2', 'b1', 'b2')).keys()]).toEqual(['a1', 'b1']);
});

test('Q3 who waits for a model and for the account is served in the order of that model', async () => {
  await leaves({ concurrency: 2 }, { concurrency: 1 });
  await had('a', 3);
  const holder = await rules.grant('holder', of('a'));
  await rules.grant('another', { ...of('a'), model: 'glm-4' });
  for (const id of ['a1', 'b1']) await queue(id, of(id));
  expect(await order(holder, 'a1', 'b1')).toEqual(['a1', 'b1']);
});

test('Q2 who left a model and found the account full goes back to its place there', async () => {
  await leaves({ concurrency: 1 });
  await had('a', 3);
  await rules.engine.admin.freeze(rules.treeKey, MODEL, START_MS + 50_000);
  for (const id of ['a1', 'b1']) await queue(id, of(id));
  const holder = await rules.grant('holder', { model: 'glm-4' });
  await rules.engine.admin.freeze(rules.treeKey, MODEL, null);
  expect(await order(holder, 'a1', 'b1')).toEqual(['a1', 'b1']);
});

test('Q2 a leaf that had nothing for long does not set back the time of all', async () => {
  await leaves({ concurrency: 1 });
  await rules.engine.admin.freeze(rules.treeKey, MODEL, START_MS + 50_000);
  await queue('a waits for its model', of('a'));
  await had('r', 3);
  await had('a', 1);
  const holder = await rules.grant('holder', { model: 'glm-4' });
  for (const id of ['r1', 'r2', 'n1', 'n2']) await queue(id, { ...of(id), model: 'glm-4' });
  expect(await order(holder, 'r1', 'r2', 'n1', 'n2')).toEqual(['n1', 'r1', 'n2', 'r2']);
});

test('Q1 an owner that comes later has the turns that are still to come, not those it missed', async () => {
  await rules.engine.configure([node('account', null, { concurrency: 1 }), node('model:other', 'account')]);
  const holder = await rules.grant('0', { owner: 'pod-9' });
  for (const id of ['a1', 'a2', 'a3', 'a4', 'a5']) await queue(id);
  await rules.settle(holder);
  for (const id of ['a1', 'a2']) await rules.settle(await served(id));
  const third = await served('a3');
  for (const id of ['b1', 'b2', 'b3']) await queue(id, { owner: 'pod-2' });
  const waiting = ['a4', 'a5', 'b1', 'b2', 'b3'].map((id) => ({ id, owner: id.startsWith('a') ? 'pod-1' : 'pod-2' }));
  expect(await serveAll(third, waiting)).toEqual(['b1', 'a4', 'b2', 'a5', 'b3']);
});

const window = { type: 'Fixed', durationMs: 3_600_000 } as const;
const LONG = { mode: 'UntilWindow', maxWaitMs: 7_200_000 } as const;
const using = (inputTokens: number) => ({ reserve: { ...ONE, inputTokens } });

test('Q5 who becomes the first at a window has not been passed yet', async () => {
  const team = { leaf: 'quota:team' };
  await rules.engine.configure([
    node('account', null),
    ...[MODEL, 'model:glm-4', 'model:other'].map((name) => node(name, 'account')),
    node('quota:team', 'account', { limits: [limit('tokens', 100, { resource: 'Tokens', window })] }),
  ]);
  await rules.grant('holder', { ...team, ...using(30), model: 'glm-4' });
  let passed = 0;
  const pass = async () => rules.acquire(`passes ${passed++}`, { ...team, ...using(1), model: 'glm-4' });
  await queue('large', { ...team, ...using(90), wait: LONG });
  await queue('other', { ...team, ...using(90), wait: LONG, model: 'glm-5.2' });
  for (let small = 0; small < 7; small++) {
    const verdict = await pass();
    if (verdict.kind === 'granted') await rules.settle(verdict, { actual: NOTHING });
  }
  await rules.engine.sidecar.cancel('large');
  for (let small = 0; small < 8; small++) {
    const verdict = await pass();
    expect(verdict).toMatchObject({ kind: 'granted' });
    if (verdict.kind === 'granted') await rules.settle(verdict, { actual: NOTHING });
  }
  expect(await pass()).toMatchObject({ reason: 'Waiting' });
});

const stop = (name: string, untilMs: number | null) => ({ name, fromMs: START_MS, untilMs, except: [] });

test('Q4 a denial tells of the stop that lasts longest, before all else', async () => {
  const stops = [stop('short', START_MS + 1000), stop('long', START_MS + 2000), stop('shorter', START_MS + 500)];
  await rules.engine.configure([
    node('account', null, { limits: [limit('five-hour', 1)] }),
    node('quota:team', 'account', { stops }),
  ]);
  await rules.settle(await rules.grant('1'));
  expect(await rules.acquire('2', { leaf: 'quota:team' })).toMatchObject({
    reason: 'Stopped',
    limit: 'long',
    retryAtMs: START_MS + 2000,
  });
});

test('Q4 UntilSlot does not wait for the end of a stop', async () => {
  await rules.engine.configure([node('account', null, { stops: [stop('night', START_MS + 1000)] })]);
  expect(await wait('1', { wait: { ...WAIT, mode: 'UntilSlot' } })).toMatchObject({ reason: 'Stopped' });
});

test('a denial that its owner was told of is forgotten', async () => {
  await rules.engine.configure([node('account', null, { concurrency: 1 })]);
  await rules.grant('1');
  await queue('2', { wait: { ...WAIT, maxWaitMs: 1000 } });
  await rules.engine.advance(1000);
  await rules.engine.sidecar.tick();
  expect(await beat('pod-1', { waiters: ['2'] })).toMatchObject({ notices: [{ kind: 'denied', id: '2' }] });
  expect(await beat('pod-1', { waiters: ['2'] })).toMatchObject({ lost: ['2'], notices: [] });
});

test('a call that may not wait, and found others before it, may ask again at once', async () => {
  await rules.engine.configure([node('account', null, { limits: [limit('five-hour', 100)], concurrency: 2 })]);
  const holder = await rules.grant('1');
  await rules.grant('2');
  await queue('waits');
  await rules.settle(holder, { holdMs: 1000 });
  await rules.engine.advance(1000);
  expect(await rules.acquire('3')).toMatchObject({ reason: 'Waiting' });
  await rules.settle(await served('waits'));
  expect(await rules.acquire('3')).toMatchObject({ kind: 'granted' });
});
