import { expect, test } from 'vitest';
import { decideInjection, type BindVerdict, type InjectContext } from '#operator/webhook/inject.ts';
import type { Container, PatchOperation, Pod } from '#operator/webhook/pod-shape.ts';

const RAW_KEY = '0123456789abcdef0123456789abcdef.AbCdEfGhIjKlMnOp';

function context(overrides: Partial<InjectContext> = {}): InjectContext {
  return {
    namespace: { name: 'team', labels: {}, annotations: {} },
    settings: {
      image: 'glmquota:1',
      imagePullPolicy: 'IfNotPresent',
      controlAddress: 'glmquota-edge.glmquota.svc:8443',
      controlCaPem: 'PEM',
      logLevel: 'info',
      resources: { requests: { cpu: '20m', memory: '64Mi' }, limits: { memory: '192Mi' } },
    },
    vendorHosts: ['api.z.ai', 'open.bigmodel.cn'],
    bind: (): BindVerdict => ({ kind: 'bound', billing: 'CodingPlan' }),
    ...overrides,
  };
}

function pod(spec: Partial<NonNullable<Pod['spec']>> = {}, annotations: Record<string, string> = {}): Pod {
  return {
    metadata: {
      name: 'a',
      labels: { 'glmquota.io/inject': 'true' },
      annotations: { 'glmquota.io/quota': 'glm/team-a', ...annotations },
    },
    spec: { containers: [{ name: 'agent', image: 'agent:1' }], ...spec },
  };
}

/** RFC 6902 `add` and `replace`, as the API server applies them. */
function applyPatch(target: Pod, patch: readonly PatchOperation[]): Pod {
  const document = structuredClone(target) as unknown as Record<string, unknown>;
  for (const { op, path, value } of patch) {
    const segments = path
      .split('/')
      .slice(1)
      .map((segment) => segment.replaceAll('~1', '/').replaceAll('~0', '~'));
    const last = segments.pop() ?? '';
    let parent: unknown = document;
    for (const segment of segments) parent = (parent as Record<string, unknown>)[segment];
    if (Array.isArray(parent))
      parent.splice(last === '-' ? parent.length : Number(last), op === 'replace' ? 1 : 0, value);
    else (parent as Record<string, unknown>)[last] = value;
  }
  return document as unknown as Pod;
}

function injected(target: Pod, within = context()): Pod {
  const decision = decideInjection(target, within);
  if (decision.kind !== 'inject') throw new Error(`expected an injection, got ${JSON.stringify(decision)}`);
  return applyPatch(target, decision.patch);
}

function denial(target: Pod, within = context()): string {
  const decision = decideInjection(target, within);
  return decision.kind === 'deny' ? decision.message : `not denied: ${decision.kind}`;
}

const envOf = (container: Container | undefined): Record<string, string | undefined> =>
  Object.fromEntries((container?.env ?? []).map(({ name, value }) => [name, value]));

test('the sidecar stands first among the init containers and restarts always', () => {
  const result = injected(pod({ initContainers: [{ name: 'setup', image: 'x' }] }));
  expect(result.spec?.initContainers?.map(({ name }) => name)).toEqual(['glmquota-sidecar', 'setup']);
  expect(result.spec?.initContainers?.[0]?.['restartPolicy']).toBe('Always');
});

test('the sidecar starts after the containers of a service mesh', () => {
  const result = injected(
    pod({ initContainers: [{ name: 'istio-init' }, { name: 'istio-proxy' }, { name: 'setup' }] }),
  );
  expect(result.spec?.initContainers?.map(({ name }) => name)).toEqual([
    'istio-init',
    'istio-proxy',
    'glmquota-sidecar',
    'setup',
  ]);
  expect(envOf(result.spec?.initContainers?.[3])['OPENAI_BASE_URL']).toBeDefined();
  expect(envOf(result.spec?.initContainers?.[1])['OPENAI_BASE_URL']).toBeUndefined();
});

test('injecting an injected pod again changes nothing', () => {
  const once = injected(pod());
  expect(decideInjection(once, context())).toEqual({ kind: 'skip', reason: 'AlreadyInjected' });
});

test('a container that another webhook adds later gets its environment in the next round', () => {
  const once = injected(pod());
  const later: Pod = {
    ...once,
    spec: { ...once.spec, containers: [...(once.spec?.containers ?? []), { name: 'late' }] },
  };
  const twice = injected(later);
  expect(envOf(twice.spec?.containers?.[1])['OPENAI_BASE_URL']).toBe('http://127.0.0.1:15787/api/coding/paas/v4');
  expect(twice.spec?.initContainers).toHaveLength(1);
});

test('the patch adds only and keeps unknown fields', () => {
  const original = pod({ containers: [{ name: 'agent', env: [{ name: 'A', value: '1' }], futureField: { x: 1 } }] });
  const decision = decideInjection(original, context());
  expect(decision.kind === 'inject' && decision.patch.every(({ op }) => op === 'add')).toBe(true);
  const agent = injected(original).spec?.containers?.[0];
  expect(agent?.['futureField']).toEqual({ x: 1 });
  expect(agent?.env?.[0]).toEqual({ name: 'A', value: '1' });
});

test('agents get the sidecar as base URL and a placeholder instead of a key', () => {
  const env = envOf(injected(pod()).spec?.containers?.[0]);
  expect(env['ANTHROPIC_BASE_URL']).toBe('http://127.0.0.1:15787/api/anthropic');
  expect(env['OPENAI_API_KEY']).toBe('glmquota-managed');
});

test('a pay-as-you-go account points agents at the pay-as-you-go path', () => {
  const env = envOf(
    injected(pod(), context({ bind: () => ({ kind: 'bound', billing: 'PayAsYouGo' }) })).spec?.containers?.[0],
  );
  expect(env['OPENAI_BASE_URL']).toBe('http://127.0.0.1:15787/api/paas/v4');
  expect(env['ANTHROPIC_BASE_URL']).toBeUndefined();
});

test('a variable set by the user stays as it is', () => {
  const result = injected(
    pod({ containers: [{ name: 'agent', env: [{ name: 'OPENAI_BASE_URL', value: 'http://mine' }] }] }),
  );
  expect(envOf(result.spec?.containers?.[0])['OPENAI_BASE_URL']).toBe('http://mine');
});

test('Override replaces the variables that point at the vendor or carry its key', () => {
  const env = [
    { name: 'OPENAI_BASE_URL', value: 'https://api.z.ai/api/paas/v4' },
    { name: 'MY_KEY', value: RAW_KEY },
  ];
  const result = injected(pod({ containers: [{ name: 'agent', env }] }, { 'glmquota.io/env': 'Override' }));
  expect(envOf(result.spec?.containers?.[0])['OPENAI_BASE_URL']).toBe('http://127.0.0.1:15787/api/coding/paas/v4');
  expect(JSON.stringify(result)).not.toContain(RAW_KEY);
});

test('only the named containers get the environment', () => {
  const result = injected(
    pod({ containers: [{ name: 'agent' }, { name: 'db' }] }, { 'glmquota.io/containers': 'agent' }),
  );
  expect(result.spec?.containers?.[1]).toEqual({ name: 'db' });
});

test('the token volume is mounted in the sidecar only', () => {
  const result = injected(pod());
  expect(result.spec?.containers?.[0]?.volumeMounts?.map(({ name }) => name)).toEqual(['glmquota-socket']);
  expect(result.spec?.initContainers?.[0]?.volumeMounts?.map(({ name }) => name)).toEqual([
    'glmquota-token',
    'glmquota-socket',
  ]);
});

test('the binding is written into the sidecar, with the pod namespace as default', () => {
  const sidecar = injected(pod({}, { 'glmquota.io/quota': 'team-a', 'glmquota.io/concurrency': '2' })).spec
    ?.initContainers?.[0];
  expect(envOf(sidecar)).toMatchObject({ GLMQUOTA_BINDING: 'team/team-a', GLMQUOTA_PER_AGENT_CONCURRENCY: '2' });
});

test('the namespace label opts in, the pod label opts out', () => {
  const within = context({
    namespace: {
      name: 'team',
      labels: { 'glmquota.io/injection': 'enabled' },
      annotations: { 'glmquota.io/quota': 'q' },
    },
  });
  const plain: Pod = { spec: { containers: [{ name: 'agent' }] } };
  expect(decideInjection(plain, within).kind).toBe('inject');
  expect(decideInjection(plain, context())).toEqual({ kind: 'skip', reason: 'NotRequested' });
  const optedOut: Pod = { ...plain, metadata: { labels: { 'glmquota.io/inject': 'false' } } };
  expect(decideInjection(optedOut, within)).toEqual({ kind: 'skip', reason: 'OptedOut' });
});

test.each<[string, Pod, string]>([
  ['hostNetwork', pod({ hostNetwork: true }), 'remove hostNetwork'],
  ['Windows', pod({ os: { name: 'windows' } }), 'does not run on Windows'],
  [
    'no quota',
    { ...pod(), metadata: { labels: { 'glmquota.io/inject': 'true' } } },
    'annotation glmquota.io/quota is missing',
  ],
  ['a quota reference that cannot be', pod({}, { 'glmquota.io/quota': 'a/b/c' }), 'must read [namespace/]name'],
  ['an unknown env mode', pod({}, { 'glmquota.io/env': 'Maybe' }), 'must be Keep or Override'],
  ['an unknown container', pod({}, { 'glmquota.io/containers': 'nope' }), '"nope"'],
  ['a concurrency of nought', pod({}, { 'glmquota.io/concurrency': '0' }), 'whole number'],
  [
    'a vendor URL',
    pod({ containers: [{ name: 'agent', env: [{ name: 'X', value: 'https://api.z.ai/api' }] }] }),
    'env X points at the vendor; delete it',
  ],
  [
    'a vendor URL in args',
    pod({ containers: [{ name: 'agent', args: ['--base=https://open.bigmodel.cn:443'] }] }),
    'args[0] points at the vendor',
  ],
  [
    'a vendor URL with a user and a rooted name',
    pod({ containers: [{ name: 'agent', args: ['https://me:x@api.z.ai./v1'] }] }),
    'args[0] points at the vendor',
  ],
  [
    'a raw key',
    pod({ containers: [{ name: 'agent', env: [{ name: 'K', value: RAW_KEY }] }] }),
    'env K carries a raw vendor key',
  ],
  ['a container of the reserved name', pod({ containers: [{ name: 'glmquota-sidecar' }] }), 'reserved'],
  [
    'a sidecar with another command',
    pod({ initContainers: [{ name: 'glmquota-sidecar', image: 'glmquota:1', command: ['sh'] }] }),
    'reserved',
  ],
  [
    'a volume of the reserved name',
    pod({ volumes: [{ name: 'glmquota-token', hostPath: { path: '/' } }] }),
    'reserved',
  ],
])('a pod with %s is refused and told what to write', (_, target, message) => {
  expect(denial(target)).toContain(message);
});

test('a denial never repeats the raw key', () => {
  expect(denial(pod({ containers: [{ name: 'agent', env: [{ name: 'K', value: RAW_KEY }] }] }))).not.toContain(RAW_KEY);
});

test('a quota that refuses the binding refuses the pod with its reason', () => {
  const within = context({ bind: () => ({ kind: 'refused', message: 'GLMQuota glm/team-a does not exist' }) });
  expect(denial(pod(), within)).toBe('glmquota: GLMQuota glm/team-a does not exist');
});

test('an injected pod whose sidecar was altered in between is refused', () => {
  const once = injected(pod());
  const [sidecar] = once.spec?.initContainers ?? [];
  const altered: Container = {
    ...(sidecar as Container),
    env: [...(sidecar?.env ?? []), { name: 'NODE_OPTIONS', value: '--inspect' }],
  };
  expect(denial({ ...once, spec: { ...once.spec, initContainers: [altered] } })).toContain('reserved');
});

test('what the API server adds to the sidecar by itself does not count as altered', () => {
  const once = injected(pod());
  const [sidecar] = once.spec?.initContainers ?? [];
  const mounts = [
    ...(sidecar?.volumeMounts ?? []),
    { name: 'kube-api-access-x', mountPath: '/var/run/secrets/kubernetes.io/serviceaccount' },
  ];
  const defaulted: Container = {
    ...(sidecar as Container),
    terminationMessagePath: '/dev/termination-log',
    volumeMounts: mounts,
    resources: {},
  };
  expect(decideInjection({ ...once, spec: { ...once.spec, initContainers: [defaulted] } }, context()).kind).toBe(
    'skip',
  );
});
