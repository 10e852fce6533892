/** Specs that no schema can refuse, and what their conditions say. */
import { accountObject, credentialObject, type Manifest, quotaObject } from '#test/support/platform.ts';

export const NS = 'specs';
export const ELSEWHERE = 'specs-elsewhere';

export const quota = (name: string, spec: Readonly<Record<string, unknown>>, namespace = NS): Manifest =>
  quotaObject(namespace, name, spec);

export const key = (name: string, data: Readonly<Record<string, string>> = {}): Manifest =>
  credentialObject(NS, name, { apiKey: `${name}-key.of-${name}`, ...data });

const account = (name: string, spec: Readonly<Record<string, unknown>> = {}): Manifest =>
  accountObject(NS, name, { region: 'International', credentialSecretRef: { name }, ...spec });

export interface BadCase {
  readonly what: string;
  readonly kind: 'glmq' | 'glma';
  readonly name: string;
  readonly namespace?: string;
  readonly objects: readonly Manifest[];
  readonly reason: string;
  readonly says: string;
}

export const BAD: readonly BadCase[] = [
  {
    what: 'a quota of an unknown account',
    kind: 'glmq',
    name: 'orphan',
    objects: [quota('orphan', { accountRef: { name: 'ghost' } })],
    reason: 'ParentNotFound',
    says: `there is no GLMAccount ${NS}/ghost; create it or correct spec.accountRef`,
  },
  {
    what: 'a quota of an unknown parent',
    kind: 'glmq',
    name: 'stray',
    objects: [quota('stray', { parentRef: { name: 'ghost' } })],
    reason: 'ParentNotFound',
    says: `there is no GLMQuota ${NS}/ghost; create it or correct spec.parentRef`,
  },
  {
    what: 'a ring of parents',
    kind: 'glmq',
    name: 'ring-a',
    objects: [quota('ring-a', { parentRef: { name: 'ring-b' } }), quota('ring-b', { parentRef: { name: 'ring-a' } })],
    reason: 'CycleDetected',
    says: `${NS}/ring-a → ${NS}/ring-b → ${NS}/ring-a; change one spec.parentRef`,
  },
  {
    what: 'a quota under an account that does not grant its namespace',
    kind: 'glmq',
    name: 'foreign',
    namespace: ELSEWHERE,
    objects: [quota('foreign', { accountRef: { name: 'main', namespace: NS } }, ELSEWHERE)],
    reason: 'ParentNotGranted',
    says: 'its owner decides by spec.children (now from: Same)',
  },
  {
    what: 'a percentage of a limit that nobody above has',
    kind: 'glmq',
    name: 'share-of-nothing',
    objects: [quota('share-of-nothing', { accountRef: { name: 'main' }, limits: [{ name: 'yearly', amount: '10%' }] })],
    reason: 'InvalidLimits',
    says: 'nothing above has a limit of that name; write resource and window',
  },
  {
    what: 'an account of an unknown plan',
    kind: 'glma',
    name: 'unplanned',
    objects: [key('unplanned'), account('unplanned', { plan: { name: 'Gigantic', generation: 'Credits' } })],
    reason: 'UnknownPlan',
    says: 'GLMCatalog default has no plan Gigantic/Credits (name/generation); it has ',
  },
  {
    what: 'an account of an unknown catalog',
    kind: 'glma',
    name: 'uncatalogued',
    objects: [key('uncatalogued'), account('uncatalogued', { catalogRef: { name: 'ghost' } })],
    reason: 'UnknownCatalog',
    says: 'there is no usable GLMCatalog ghost; correct spec.catalogRef or that catalog',
  },
  {
    what: 'an account that raises a limit of its plan',
    kind: 'glma',
    name: 'greedy',
    objects: [
      key('greedy'),
      account('greedy', {
        plan: { name: 'Max', generation: 'Credits' },
        limits: [{ name: 'five-hour', amount: 900_000_000 }],
      }),
    ],
    reason: 'InvalidLimits',
    says: 'a limit of the plan may only be lowered',
  },
  {
    what: 'an account without its Secret',
    kind: 'glma',
    name: 'keyless',
    objects: [account('keyless')],
    reason: 'CredentialMissing',
    says: `there is no Secret ${NS}/keyless of type glmquota.io/credential; create it with data.apiKey`,
  },
  {
    what: 'a Secret of another type',
    kind: 'glma',
    name: 'opaque',
    objects: [{ ...key('opaque'), type: 'Opaque' }, account('opaque')],
    reason: 'CredentialInvalid',
    says: `Secret ${NS}/opaque has type Opaque; make it anew with type: glmquota.io/credential`,
  },
  {
    what: 'a Secret without a key',
    kind: 'glma',
    name: 'empty',
    objects: [credentialObject(NS, 'empty', { origin: 'https://api.z.ai' }), account('empty')],
    reason: 'CredentialInvalid',
    says: 'has no data.apiKey; put the vendor key there',
  },
  {
    what: 'an origin that the administrator did not allow',
    kind: 'glma',
    name: 'elsewhere',
    objects: [key('elsewhere', { origin: 'https://llm.example.com' }), account('elsewhere', { region: 'Custom' })],
    reason: 'OriginNotAllowed',
    says: "https://llm.example.com is not among the operator's allowed origins",
  },
  {
    what: 'a second account with the same key',
    kind: 'glma',
    name: 'twin',
    objects: [
      key('twin', { apiKey: 'same-key.of-two' }),
      key('first', { apiKey: 'same-key.of-two' }),
      account('first'),
      account('twin'),
    ],
    reason: 'DuplicateAccount',
    says: 'holds the same vendor key and is older; this one grants nothing',
  },
];
