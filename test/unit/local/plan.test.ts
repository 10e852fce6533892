import { describe, expect, test } from 'vitest';
import { parseGlmCatalog } from '#operator/api/v1alpha1/glmcatalog.ts';
import { EXAMPLE } from '#operator/local/arguments.ts';
import { readDocuments } from '#operator/local/documents.ts';
import { planLocal } from '#operator/local/plan.ts';
import { createCalendar } from '#operator/trees/calendar.ts';

const shippedSpec = {
  models: [{ name: 'glm-5.3' }],
  plans: [
    {
      name: 'Max',
      generation: 'Credits',
      unit: 'Credits',
      limits: [{ name: 'five-hour', amount: 28_000, duration: '5h' }],
    },
  ],
};
const parsed = parseGlmCatalog({
  apiVersion: 'glmquota.io/v1alpha1',
  kind: 'GLMCatalog',
  metadata: { name: 'default' },
  spec: shippedSpec,
});
if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems));
const shipped = parsed.value;

const head = 'apiVersion: glmquota.io/v1alpha1\nkind: ';
const account = `${head}GLMAccount
metadata: { name: max }
spec:
  billing: CodingPlan
  region: Custom
  plan: { name: Max, generation: Credits }
  credentialSecretRef: { name: key }`;
const secret = `kind: Secret
metadata: { name: key }
type: glmquota.io/credential
stringData: { apiKey: id.secret-1, origin: "http://127.0.0.1:9" }`;
const quota = (name: string, more = '') => `${head}GLMQuota
metadata: { name: ${name} }
spec:
  accountRef: { name: max }
${more}`;

function plan(documents: string[], asked: { namespace: string; name: string } | null = null) {
  const objects = readDocuments([{ name: 'q.yaml', text: documents.join('\n---\n') }]);
  return planLocal({ objects, shipped, quota: asked, calendar: createCalendar(), nowMs: 0 });
}
const problemsOf = (decision: ReturnType<typeof plan>) => (decision.ok ? '' : decision.problems.join('\n'));

test('the only quota is run, with any origin its Secret names and the shipped catalog', () => {
  const decision = plan([account, secret, quota('team', '  concurrency: { max: 2 }')]);
  expect(decision).toMatchObject({
    ok: true,
    plan: {
      quota: { node: 'quota:default/team' },
      tree: { account: { namespace: 'default', name: 'max', uid: 'local' } },
      account: { delivery: { origin: 'http://127.0.0.1:9', catalog: 'default' } },
      credential: { apiKey: 'id.secret-1' },
      warnings: [],
    },
  });
});

test('the example of the help can be run', () => {
  const decision = plan([EXAMPLE.replace("<the vendor's key>", 'id.secret-1')]);
  expect(decision).toMatchObject({ ok: true, plan: { quota: { name: 'me' }, warnings: [] } });
});

test('of several quotas one is chosen by name, whatever the others lack', () => {
  const lost = `${head}GLMQuota\nmetadata: { name: lost }\nspec: { parentRef: { name: gone } }`;
  const decision = plan([account, secret, quota('a'), quota('b'), lost], { namespace: 'default', name: 'b' });
  expect(decision).toMatchObject({ ok: true, plan: { quota: { name: 'b' } } });
  expect(decision.ok && decision.plan.warnings).toEqual([
    expect.stringMatching(/^GLMQuota default\/lost: ParentNotFound: /),
  ]);
});

test('a quota that counts by match is not run, and does not make the choice a hard one', () => {
  const scope = quota('scope', '  match: { tools: [search] }');
  expect(plan([account, secret, quota('a'), scope])).toMatchObject({ ok: true, plan: { quota: { name: 'a' } } });
  const asked = plan([account, secret, quota('a'), scope], { namespace: 'default', name: 'scope' });
  expect(problemsOf(asked)).toBe(
    'GLMQuota default/scope: counts calls of other quotas by spec.match; choose one without match',
  );
});

test('whoever runs it may use every class', () => {
  const decision = plan([account, secret, quota('team', '  priority: { max: System }')]);
  expect(decision).toMatchObject({ ok: true, plan: { quota: { calls: { class: { max: 'System' } } }, warnings: [] } });
});

test('a catalog of the user’s extends the shipped one', () => {
  const catalog = `${head}GLMCatalog
metadata: { name: mine }
spec: { extends: default, models: [{ name: glm-x }] }`;
  const named = account.replace('spec:', 'spec:\n  catalogRef: { name: mine }');
  const decision = plan([named, secret, quota('team'), catalog]);
  const names = decision.ok ? decision.plan.tree.nodes.map(({ name }) => name) : [];
  expect(names).toEqual(expect.arrayContaining(['model:glm-5.3', 'model:glm-x']));
});

test('objects that need a cluster are ignored with a word', () => {
  const decision = plan([account, secret, quota('team'), 'kind: ConfigMap\nmetadata: { name: x }']);
  expect(decision.ok && decision.plan.warnings).toEqual([
    'q.yaml: ConfigMap default/x: ignored, it means nothing without a cluster',
  ]);
});

test('a misspelt kind of ours is refused, not ignored', () => {
  const decision = plan([account, secret, quota('team'), `${head}GLMQuotta\nmetadata: { name: x }`]);
  expect(!decision.ok && decision.problems.join()).toContain(
    'GLMQuotta is no kind of glmquota.io; known are GLMAccount',
  );
});

test('a held quota runs, and says that it is held', () => {
  const decision = plan([account, secret, quota('team', '  stop: { policy: Hold }')]);
  expect(decision.ok && decision.plan.warnings).toEqual([expect.stringMatching(/Stopped: held by spec.stop/)]);
});

describe('what cannot run says why', () => {
  test.each([
    ['broken YAML', [account, 'a: [1'], /^q.yaml: /],
    ['a document that is no object', [account, 'just words'], /q.yaml: a document is no object/],
    [
      'a wrong field, with its path',
      [account, secret, quota('team', '  colour: red')],
      /GLMQuota default\/team: spec.colour: is not a field/,
    ],
    [
      'an object that is there twice',
      [account, account, secret, quota('team')],
      /GLMAccount default\/max: is there twice/,
    ],
    ['no quota', [account, secret], /have no GLMQuota; add one/],
    [
      'several quotas and no choice',
      [account, secret, quota('a'), quota('b')],
      /choose one with --quota: default\/a, default\/b/,
    ],
    [
      'no Secret',
      [account, quota('team')],
      /GLMAccount default\/max: CredentialMissing: there is no Secret default\/key/,
    ],
    [
      'a Secret of another type',
      [account, secret.replace('glmquota.io/credential', 'Opaque'), quota('team')],
      /CredentialInvalid: .* has type Opaque/,
    ],
    [
      'an unknown plan',
      [account.replace('Max, gen', 'Ultra, gen'), secret, quota('team')],
      /UnknownPlan: .* it has Max\/Credits/,
    ],
    ['an unknown account', [secret, quota('team')], /ParentNotFound: there is no GLMAccount default\/max/],
    [
      'plain http to another machine',
      [account, secret.replace('127.0.0.1', '10.0.0.1'), quota('team')],
      /OriginNotAllowed: .*plain http is for loopback/,
    ],
  ])('%s', (_, documents, message) => {
    expect(problemsOf(plan(documents))).toMatch(message);
  });

  test('a quota that the files do not have', () => {
    const decision = plan([account, secret, quota('a')], { namespace: 'x', name: 'y' });
    expect(problemsOf(decision)).toBe('--quota x/y: the files have no such GLMQuota; they have default/a');
  });
});

test('no problem and no warning ever holds the key', () => {
  const decision = plan([account.replace('Max, gen', 'Ultra, gen'), secret, quota('team')]);
  expect(problemsOf(decision)).not.toContain('id.secret-1');
});
