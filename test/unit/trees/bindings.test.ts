import { describe, expect, test } from 'vitest';
import { decideBinding } from '#operator/trees/bindings.ts';
import { compileTrees } from '#operator/trees/compile.ts';
import { selects } from '#operator/trees/grants.ts';
import { account, inForce, quota, world } from './world.ts';

const namespaces = new Map([
  ['ci', { team: 'a' }],
  ['other', {}],
]);
const open = { namespaces: { from: 'All' } };

/** Asks for a pod of `namespace` run by `serviceAccount`. */
function ask(quotaSpec: object, from: { namespace: string; serviceAccount?: string }, keyDelivery: object = open) {
  const compiled = compileTrees(
    world({
      accounts: [account('max', { keyDelivery })],
      quotas: [quota('glm/team', { accountRef: { name: 'max' }, ...quotaSpec })],
      namespaces,
    }),
  );
  const question = { serviceAccount: 'default', quota: { namespace: 'glm', name: 'team' }, ...from };
  const decision = decideBinding(compiled, namespaces, question);
  return decision.kind === 'bound' ? 'bound' : decision.reason;
}

describe('consumers', () => {
  test.each([
    ['by default pods of the quota’s own namespace', {}, 'glm', 'bound'],
    ['by default nobody else', {}, 'ci', 'QuotaNotGranted'],
    ['with from: All everybody', { consumers: { from: 'All' } }, 'other', 'bound'],
    ['with from: None nobody', { consumers: { from: 'None' } }, 'glm', 'QuotaNotGranted'],
    ['with a selector those it matches', select({ team: 'a' }), 'ci', 'bound'],
    ['with a selector nobody else', select({ team: 'a' }), 'other', 'QuotaNotGranted'],
    ['with a selector no namespace that is not known', select({ team: 'a' }), 'new', 'QuotaNotGranted'],
  ])('%s', (_, spec, namespace, answer) => {
    expect(ask(spec, { namespace })).toBe(answer);
  });

  test.each([
    [['runner'], 'ci', 'runner', 'bound'],
    [['ci/runner'], 'ci', 'runner', 'bound'],
    [['glm/runner'], 'ci', 'runner', 'QuotaNotGranted'],
    [['runner'], 'ci', 'default', 'QuotaNotGranted'],
  ])('named service accounts %j decide over %s/%s: %s', (serviceAccounts, namespace, serviceAccount, answer) => {
    expect(ask({ consumers: { from: 'All', serviceAccounts } }, { namespace, serviceAccount })).toBe(answer);
  });
});

function select(matchLabels: object) {
  return { consumers: { from: 'Selector', selector: { matchLabels } } };
}

test('the key’s own grant decides besides', () => {
  expect(ask({ consumers: { from: 'All' } }, { namespace: 'ci' }, { namespaces: { from: 'Same' } })).toBe(
    'KeyDeliveryForbidden',
  );
});

test('a held quota can be bound: its calls are refused, not its pods', () => {
  expect(ask({ stop: { policy: 'Hold' } }, { namespace: 'glm' })).toBe('bound');
});

test('a quota that counts by match has no pods', () => {
  expect(ask({ match: { tools: ['search'] } }, { namespace: 'glm' })).toBe('QuotaNotBindable');
});

test('an unknown quota, and one that never was valid, are told apart', () => {
  const compiled = compileTrees(world({ quotas: [quota('glm/lost', { parentRef: { name: 'nowhere' } })] }));
  const reason = (name: string) => {
    const question = { namespace: 'glm', serviceAccount: 'default', quota: { namespace: 'glm', name } };
    const decision = decideBinding(compiled, namespaces, question);
    return decision.kind === 'refused' ? decision.reason : null;
  };
  expect([reason('none'), reason('lost')]).toEqual(['QuotaNotFound', 'QuotaNotReady']);
});

test('a chain of quotas whose account is gone says which one', () => {
  const quotas = [
    quota('glm/team', { accountRef: { name: 'gone' }, children: { from: 'Same' } }),
    quota('glm/agent', { parentRef: { name: 'team' } }),
  ];
  const question = { namespace: 'glm', serviceAccount: 'default', quota: { namespace: 'glm', name: 'agent' } };
  expect(decideBinding(compileTrees(world({ quotas })), namespaces, question)).toMatchObject({
    reason: 'AccountNotFound',
    message: expect.stringContaining('there is no GLMAccount glm/gone'),
  });
});

describe('with its last good limits in force', () => {
  const before = world({
    accounts: [account('max', { keyDelivery: open })],
    quotas: [quota('glm/team', { accountRef: { name: 'max' } })],
  });
  const question = { namespace: 'glm', serviceAccount: 'default', quota: { namespace: 'glm', name: 'team' } };
  const previous = inForce(compileTrees(before));
  const problems = [{ path: 'spec', message: 'is no object' }];
  const unparsed = { kind: 'GLMAccount', namespace: 'glm', name: 'max', uid: 'uid-max', problems } as const;

  test('an account that does not parse is waited for', () => {
    const compiled = compileTrees({ ...before, accounts: [], invalid: [unparsed], previous });
    expect(compiled.quotas.get('glm/team')?.account).toBe('glm/max');
    expect(decideBinding(compiled, namespaces, question)).toMatchObject({ reason: 'QuotaNotReady' });
  });

  test('an account without its Secret is refused, also when its spec is not in force', () => {
    const missing = (parts: object) => compileTrees({ ...before, credentials: new Map(), previous, ...parts });
    const refused = { reason: 'CredentialMissing' };
    expect(decideBinding(missing({}), namespaces, question)).toMatchObject(refused);
    expect(decideBinding(missing({ catalogs: new Map() }), namespaces, question)).toMatchObject(refused);
  });

  test('a quota that names another account by mistake stays bound', () => {
    const quotas = [quota('glm/team', { accountRef: { name: 'mx' } })];
    expect(decideBinding(compileTrees({ ...before, quotas, previous }), namespaces, question).kind).toBe('bound');
  });
});

test.each([
  ['In', { tier: 'gold' }, true],
  ['In', {}, false],
  ['NotIn', { tier: 'gold' }, false],
  ['NotIn', {}, true],
  ['Exists', { tier: '' }, true],
  ['Exists', {}, false],
  ['DoesNotExist', {}, true],
  ['DoesNotExist', { tier: 'x' }, false],
] as const)('selector operator %s on labels %j says %s, as Kubernetes does', (operator, labels, answer) => {
  const values = operator === 'In' || operator === 'NotIn' ? ['gold'] : [];
  expect(selects({ matchLabels: {}, matchExpressions: [{ key: 'tier', operator, values }] }, labels)).toBe(answer);
});
