import { afterAll, beforeAll, expect, test } from 'vitest';
import { GLM_ACCOUNTS, GLM_CATALOGS, GLM_QUOTAS } from '#operator/controllers/world/kinds.ts';
import { treeKeyOf } from '#operator/trees/names.ts';
import { createSidecarEngine } from '#sidecar/engine/client.ts';
import type { Verdict } from '#sidecar/engine/terms.ts';
import { NOTHING, request, settlement } from '#test/support/engine.ts';
import { until } from '../../unit/runtime/await-until.ts';
import { openRedis, Stand } from './stand.ts';

let stand: Stand;
let controller: ReturnType<Stand['startController']>;

const account = { namespace: 'glm', name: 'max' };
const team = { namespace: 'team', name: 'team-a' };

beforeAll(async () => {
  stand = await Stand.start();
  await stand.namespace('glm');
  await stand.namespace('team', { tier: 'gold' });
  controller = stand.startController();
}, 600_000);

afterAll(async () => {
  await controller?.[Symbol.asyncDispose]();
  await stand?.[Symbol.asyncDispose]();
});

test('the default catalog appears with its content version', async () => {
  expect(await stand.eventually(GLM_CATALOGS, { name: 'default' }, 'Ready', 'True CatalogUsable')).toBe(
    'True CatalogUsable',
  );
  const { contentVersion } = await stand.status(GLM_CATALOGS, { name: 'default' });
  expect(contentVersion).toMatch(/^\d{4}-/);
});

test('an account without its Secret says so, and is in force once the Secret is there', async () => {
  const children = { from: 'Selector', selector: { matchLabels: { tier: 'gold' } } };
  await stand.account(account, { concurrency: { max: 3 }, children });
  expect(await stand.eventually(GLM_ACCOUNTS, account, 'Active', 'False CredentialMissing')).toBe(
    'False CredentialMissing',
  );
  await stand.credential('glm', 'key', { apiKey: 'vendor-key-0001' });
  expect(await stand.eventually(GLM_ACCOUNTS, account, 'Ready', 'True QuotaActive')).toBe('True QuotaActive');
  const tree = await stand.tree(account);
  expect(tree?.nodes.find(({ name }) => name === 'account')?.concurrency).toBe(3);
});

test('a quota applied is a node in Redis, and its status names the revision', async () => {
  const limits = [{ name: 'daily', resource: 'Requests', amount: 10, window: { type: 'Calendar', period: 'Day' } }];
  await stand.quota(team, { accountRef: account, limits, concurrency: { max: 2 } });
  expect(await stand.eventually(GLM_QUOTAS, team, 'Ready', 'True QuotaActive')).toBe('True QuotaActive');
  const tree = await stand.tree(account);
  const node = tree?.nodes.find(({ name }) => name === 'quota:team/team-a');
  expect(node).toMatchObject({ concurrency: 2, usage: [{ limit: 'daily', amount: 10 }] });
  const status = await stand.status(GLM_QUOTAS, team);
  const { leaseCreatedMs, transitions, generation } = tree!.revision;
  expect(status['revision']).toBe(`${leaseCreatedMs}.${transitions}.${generation}`);
  expect(status['usedPercent']).toBe(0);
});

test('a spec that goes bad keeps its last good limits in Redis', async () => {
  const bad = [{ name: 'daily', amount: '50%' }];
  await stand.quota(team, { accountRef: account, limits: bad, concurrency: { max: 5 } });
  expect(await stand.eventually(GLM_QUOTAS, team, 'Ready', 'False InvalidLimits')).toBe('False InvalidLimits');
  const tree = await stand.tree(account);
  const node = tree?.nodes.find(({ name }) => name === 'quota:team/team-a');
  expect(node).toMatchObject({ concurrency: 2, usage: [{ limit: 'daily', amount: 10 }] });
});

test('a leader that starts while a spec is bad keeps those limits too', async () => {
  await controller[Symbol.asyncDispose]();
  const before = await stand.tree(account);
  controller = stand.startController('controller-1');
  await until(async () => {
    const revision = (await stand.tree(account))?.revision;
    return (revision?.transitions ?? 0) > (before?.revision.transitions ?? 0);
  }, 'the new leader took the tree over');
  const tree = await stand.tree(account);
  expect(tree?.configHash).toBe(before?.configHash);
  expect(tree?.revision.generation).toBe(before?.revision.generation);
});

test('a mended spec is in force again', async () => {
  const limits = [{ name: 'daily', resource: 'Requests', amount: 20, window: { type: 'Calendar', period: 'Day' } }];
  await stand.quota(team, { accountRef: account, limits, concurrency: { max: 2 } });
  expect(await stand.eventually(GLM_QUOTAS, team, 'Ready', 'True QuotaActive')).toBe('True QuotaActive');
  const tree = await stand.tree(account);
  expect(tree?.nodes.find(({ name }) => name === 'quota:team/team-a')?.usage[0]?.amount).toBe(20);
});

const faults: [string, Record<string, unknown>, string][] = [
  ['an unknown parent', { parentRef: { name: 'nobody' } }, 'False ParentNotFound'],
  ['an account that does not grant', { accountRef: { ...account, name: 'closed' } }, 'False ParentNotGranted'],
  ['a percentage of nothing', { accountRef: account, limits: [{ name: 'x', amount: '10%' }] }, 'False InvalidLimits'],
];

/** Two accounts of one key are told apart by their age, which the API server writes down in seconds. */
async function outliveSecondOf(key: { namespace: string; name: string }): Promise<void> {
  const created = Date.parse((await stand.client.get(GLM_ACCOUNTS, key))!.metadata.creationTimestamp!);
  await until(async () => Date.now() > created + 1000, 'the next second');
}

test.each(faults)('%s is a condition with a reason', async (what, spec, wanted) => {
  await outliveSecondOf(account);
  await stand.account({ namespace: 'glm', name: 'closed' }, { children: { from: 'None' } });
  const key = { namespace: 'team', name: `bad-${what.replaceAll(' ', '-')}` };
  await stand.quota(key, spec);
  expect(await stand.eventually(GLM_QUOTAS, key, 'Ready', wanted)).toBe(wanted);
  await stand.client.delete(GLM_QUOTAS, key);
});

test('a ring of parents is told to each of its members', async () => {
  const [a, b] = [
    { namespace: 'team', name: 'ring-a' },
    { namespace: 'team', name: 'ring-b' },
  ];
  await stand.quota(a, { parentRef: { name: 'ring-b' } });
  await stand.quota(b, { parentRef: { name: 'ring-a' } });
  expect(await stand.eventually(GLM_QUOTAS, a, 'Ready', 'False CycleDetected')).toBe('False CycleDetected');
  expect(await stand.eventually(GLM_QUOTAS, b, 'Ready', 'False CycleDetected')).toBe('False CycleDetected');
});

test('unknown plan, unknown catalog, a second account of the same key, a forbidden origin are told apart', async () => {
  const named = (name: string) => ({ namespace: 'glm', name });
  await stand.account(named('closed'), { children: { from: 'None' } });
  expect(await stand.eventually(GLM_ACCOUNTS, named('closed'), 'Ready', 'False DuplicateAccount')).toBe(
    'False DuplicateAccount',
  );
  await stand.account(named('no-plan'), { plan: { name: 'Nothing', generation: 'Credits' } });
  expect(await stand.eventually(GLM_ACCOUNTS, named('no-plan'), 'Ready', 'False UnknownPlan')).toBe(
    'False UnknownPlan',
  );
  await stand.account(named('no-catalog'), { catalogRef: { name: 'missing' } });
  expect(await stand.eventually(GLM_ACCOUNTS, named('no-catalog'), 'Ready', 'False UnknownCatalog')).toBe(
    'False UnknownCatalog',
  );
  await stand.credential('glm', 'elsewhere', { apiKey: 'vendor-key-0002', origin: 'https://elsewhere.example' });
  await stand.account(named('elsewhere'), { region: 'Custom', credentialSecretRef: { name: 'elsewhere' } });
  expect(await stand.eventually(GLM_ACCOUNTS, named('elsewhere'), 'Ready', 'False OriginNotAllowed')).toBe(
    'False OriginNotAllowed',
  );
});

test('W3 F5 a duplicate account grants nothing, and the older one goes on granting', async () => {
  const closed = { namespace: 'glm', name: 'closed' };
  await stand.account(closed, { children: { from: 'None' } });
  expect(await stand.eventually(GLM_ACCOUNTS, closed, 'Ready', 'False DuplicateAccount')).toBe(
    'False DuplicateAccount',
  );
  const link = openRedis(stand.redis.url);
  const asked = async (of: typeof account): Promise<Verdict> => {
    const { generation } = (await stand.tree(of))!.revision;
    const engine = createSidecarEngine({ redis: link, treeKey: treeKeyOf(of) });
    return engine.acquire(request(`of-${of.name}`, { generation, maxRuntimeMs: 60_000 }));
  };
  expect(await asked(closed)).toMatchObject({
    kind: 'denied',
    reason: 'Stopped',
    node: 'account',
    limit: 'duplicate-account',
  });
  const grant = await asked(account);
  if (grant.kind !== 'granted') throw new Error(JSON.stringify(grant));
  await createSidecarEngine({ redis: link, treeKey: treeKeyOf(account) }).cancel(grant.id);
  link.disconnect();
});

test('a Secret of the wrong type and one without a key are told apart from a missing one', async () => {
  const key = { namespace: 'glm', name: 'poor' };
  await stand.account(key, { credentialSecretRef: { name: 'opaque' } });
  expect(await stand.eventually(GLM_ACCOUNTS, key, 'Ready', 'False CredentialMissing')).toBe('False CredentialMissing');
  await stand.credential('glm', 'opaque', { apiKey: 'vendor-key-0003' }, 'Opaque');
  expect(await stand.eventually(GLM_ACCOUNTS, key, 'Ready', 'False CredentialInvalid')).toBe('False CredentialInvalid');
  await stand.credential('glm', 'empty', { token: 'vendor-key-0003' });
  await stand.account(key, { credentialSecretRef: { name: 'empty' } });
  const status = async () => JSON.stringify(await stand.status(GLM_ACCOUNTS, key));
  await until(async () => (await status()).includes('has no data.apiKey'), 'the message names what lacks');
  expect(await stand.condition(GLM_ACCOUNTS, key, 'Ready')).toBe('False CredentialInvalid');
});

test('a stopped account stops its quotas, by node and by condition', async () => {
  const children = { from: 'Selector', selector: { matchLabels: { tier: 'gold' } } };
  await stand.account(account, { concurrency: { max: 3 }, children, stop: { policy: 'Hold' } });
  expect(await stand.eventually(GLM_QUOTAS, team, 'Ready', 'False ParentStopped')).toBe('False ParentStopped');
  expect((await stand.status(GLM_QUOTAS, team))['blockedBy']).toBe('account/stop');
  await stand.account(account, { concurrency: { max: 3 }, children });
  expect(await stand.eventually(GLM_QUOTAS, team, 'Ready', 'True QuotaActive')).toBe('True QuotaActive');
});

test('what calls use shows in the status, in the amounts people wrote', async () => {
  const key = treeKeyOf(account);
  const link = openRedis(stand.redis.url);
  const engine = createSidecarEngine({ redis: link, treeKey: key });
  const { generation } = (await stand.tree(account))!.revision;
  const reserve = { ...NOTHING, requests: 1, inputTokens: 10 };
  const leaf = 'quota:team/team-a';
  let epoch: number | null = null;
  for (let call = 0; call < 16; call++) {
    const asked = request(`call-${call}`, { leaf, generation, reserve, maxRuntimeMs: 60_000 });
    let verdict = await engine.acquire({ ...asked, epoch });
    if (verdict.kind === 'epoch') verdict = await engine.acquire({ ...asked, epoch: (epoch = verdict.epoch) });
    if (verdict.kind !== 'granted') throw new Error(JSON.stringify(verdict));
    await engine.settle([settlement(verdict.id, verdict.fence, { actual: reserve })]);
  }
  link.disconnect();
  await until(async () => (await stand.status(GLM_QUOTAS, team))['usedPercent'] === 80, 'sixteen of twenty');
  const { usage } = await stand.status(GLM_QUOTAS, team);
  expect(usage).toMatchObject([{ limit: 'daily', resource: 'Requests', amount: '20', used: '16', percent: 80 }]);
});

test('a deleted quota leaves the tree, and made again finds its running window', async () => {
  await stand.client.delete(GLM_QUOTAS, team);
  const nodeOf = async () => (await stand.tree(account))?.nodes.find(({ name }) => name === 'quota:team/team-a');
  await until(async () => (await nodeOf()) === undefined, 'the node is gone');
  const limits = [{ name: 'daily', resource: 'Requests', amount: 20, window: { type: 'Calendar', period: 'Day' } }];
  await stand.quota(team, { accountRef: account, limits, concurrency: { max: 2 } });
  expect(await stand.eventually(GLM_QUOTAS, team, 'Ready', 'True QuotaActive')).toBe('True QuotaActive');
  expect((await nodeOf())?.usage[0]?.used).toBe(16);
});

test('trees that Redis lost are back within ten seconds, under the same generation', async () => {
  const before = await stand.tree(account);
  const started = performance.now();
  const link = openRedis(stand.redis.url);
  await link.flushall();
  link.disconnect();
  await until(async () => (await stand.tree(account)) !== null, 'the tree is back');
  console.log(`rebuilt after ${Math.round(performance.now() - started)} ms`);
  const after = await stand.tree(account);
  expect(after?.configHash).toBe(before?.configHash);
  expect(after?.revision).toEqual(before?.revision);
});

test('a Redis that is away is told, and forgotten once it is back', async () => {
  await stand.redis.kill();
  expect(await stand.eventually(GLM_QUOTAS, team, 'Ready', 'False StoreUnavailable')).toBe('False StoreUnavailable');
  await stand.redis.restart();
  expect(await stand.eventually(GLM_QUOTAS, team, 'Ready', 'True QuotaActive')).toBe('True QuotaActive');
});

test('a quiet cluster writes nothing', async () => {
  const versions = async (): Promise<string[]> => {
    const [accounts, quotas] = [await stand.client.list(GLM_ACCOUNTS), await stand.client.list(GLM_QUOTAS)];
    return [...accounts.items, ...quotas.items].map(({ metadata }) => `${metadata.name}@${metadata.resourceVersion}`);
  };
  let last = await versions();
  await until(async () => {
    const [before, now] = [last, (last = await versions())];
    await new Promise((resolve) => setTimeout(resolve, 2000));
    return before.join() === now.join();
  }, 'the writes of the tests before have ended');
  const quiet = await versions();
  await new Promise((resolve) => setTimeout(resolve, 8000));
  expect(await versions()).toEqual(quiet);
});

test('turns of Ready are told as Events, once each', async () => {
  const type = { group: 'events.k8s.io', version: 'v1', plural: 'events', kind: 'Event', namespaced: true };
  const events = await stand.client.list(type, { namespace: 'team' });
  const ofTeam = events.items.filter((event) => (event['regarding'] as { name: string }).name === team.name);
  const reasons = ofTeam.map((event) => event['reason']);
  expect(reasons).toContain('InvalidLimits');
  expect(reasons).toContain('ParentStopped');
  expect(reasons.filter((reason) => reason === 'InvalidLimits').length).toBe(1);
});
