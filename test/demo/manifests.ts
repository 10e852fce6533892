/** What the demo applies: one small custom plan, two teams with different shares, two pools of agents. */

export const WINDOW_SECONDS = 60;
export const PLAN_PROMPTS = 120;
export const CONCURRENCY = 3;
export const KEY = 'demo-key.demo-secret';

/** The keys of the control run are of the same account: the vendor then tells the teams apart in its bill. */
export const TEAMS = [
  { name: 'team-a', share: '50%', client: 'openai', controlKey: 'demo-control.secret-a' },
  { name: 'team-b', share: '25%', client: 'anthropic', controlKey: 'demo-control.secret-b' },
] as const;
export type Team = (typeof TEAMS)[number];

export interface DemoObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string; readonly [field: string]: unknown };
  readonly [field: string]: unknown;
}

const GROUP = 'glmquota.io/v1alpha1';
const namespaceObject = (name: string): DemoObject => ({ apiVersion: 'v1', kind: 'Namespace', metadata: { name } });

/** Credential, catalog with the demo's plan, and the account. */
export function accountObjects(origin: string, caPem: string): readonly DemoObject[] {
  const limits = [{ name: 'five-hour', amount: PLAN_PROMPTS, duration: `${WINDOW_SECONDS}s` }];
  return [
    namespaceObject('glm'),
    {
      apiVersion: 'v1',
      kind: 'Secret',
      type: 'glmquota.io/credential',
      metadata: { name: 'glm-key', namespace: 'glm' },
      stringData: { apiKey: KEY, origin, 'ca.crt': caPem },
    },
    {
      apiVersion: GROUP,
      kind: 'GLMCatalog',
      metadata: { name: 'demo' },
      spec: { extends: 'default', plans: [{ name: 'Demo', generation: 'Prompts', unit: 'Prompts', limits }] },
    },
    {
      apiVersion: GROUP,
      kind: 'GLMAccount',
      metadata: { name: 'demo', namespace: 'glm' },
      spec: {
        billing: 'CodingPlan',
        region: 'Custom',
        plan: { name: 'Demo', generation: 'Prompts' },
        credentialSecretRef: { name: 'glm-key' },
        keyDelivery: { mode: 'Sidecar', namespaces: { from: 'All' } },
        concurrency: { mode: 'Fixed', max: CONCURRENCY },
        rate: { requestsPerSecond: '200', burst: 200 },
        // Calls wait for a slot; a window that is used up is refused with its reset time.
        waiting: { mode: 'UntilSlot', maxWait: '1m' },
        children: { from: 'All' },
        catalogRef: { name: 'demo' },
      },
    },
  ];
}

/** A team's share of the plan; credits and cost are counted against limits it will not reach, so that status shows them. */
export function quotaObject(team: Team, share: string): DemoObject {
  const window = { type: 'Calendar', period: 'Day', timeZone: 'UTC' };
  return {
    apiVersion: GROUP,
    kind: 'GLMQuota',
    metadata: { name: team.name, namespace: team.name },
    spec: {
      accountRef: { name: 'demo', namespace: 'glm' },
      limits: [
        { name: 'five-hour', amount: share },
        { name: 'credits', resource: 'Credits', amount: '100000', window },
        { name: 'cost', resource: 'Cost', amount: '1000.00', window },
      ],
    },
  };
}

function agentContainer(team: Team, image: string): Record<string, unknown> {
  const env = {
    DEMO_CLIENT: team.client,
    DEMO_PARALLEL: '2',
    DEMO_PROMPT: 'Review this line. [[sim tokens=40 reasoning=0 ms=150 ttft=30]]',
  };
  return {
    name: 'agent',
    image,
    imagePullPolicy: 'IfNotPresent',
    env: Object.entries(env).map(([name, value]) => ({ name, value })),
  };
}

export function poolObject(team: Team, image: string): DemoObject {
  return {
    apiVersion: GROUP,
    kind: 'AgentPool',
    metadata: { name: 'agents', namespace: team.name },
    spec: {
      quotaRef: { name: team.name },
      replicas: 2,
      perAgent: { concurrency: 3 },
      template: { spec: { terminationGracePeriodSeconds: 5, containers: [agentContainer(team, image)] } },
    },
  };
}

/** One call of a minute: the lease that comes back when its agent is killed. */
export function longCallPod(team: Team, image: string): DemoObject {
  const container = agentContainer(team, image);
  const env = [
    { name: 'DEMO_CLIENT', value: team.client },
    { name: 'DEMO_PROMPT', value: 'Think long. [[sim tokens=40 ms=60000 ttft=100]]' },
  ];
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: 'long-call',
      namespace: team.name,
      labels: { 'glmquota.io/inject': 'true' },
      annotations: { 'glmquota.io/quota': team.name },
    },
    spec: { terminationGracePeriodSeconds: 1, containers: [{ ...container, env }] },
  };
}

/** The same agents without us: straight at the vendor, with its key in their environment. */
export function controlDeployment(
  team: Team,
  image: string,
  vendor: { origin: string; caPem: string },
): readonly DemoObject[] {
  const labels = { app: 'control' };
  const container = agentContainer(team, image);
  const env = {
    OPENAI_BASE_URL: `${vendor.origin}/api/coding/paas/v4`,
    OPENAI_API_KEY: team.controlKey,
    ANTHROPIC_BASE_URL: `${vendor.origin}/api/anthropic`,
    ANTHROPIC_AUTH_TOKEN: team.controlKey,
    NODE_EXTRA_CA_CERTS: '/etc/vendor/ca.crt',
  };
  return [
    {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: 'vendor-ca', namespace: team.name },
      data: { 'ca.crt': vendor.caPem },
    },
    {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name: 'control', namespace: team.name },
      spec: {
        replicas: 2,
        selector: { matchLabels: labels },
        template: {
          metadata: { labels },
          spec: {
            terminationGracePeriodSeconds: 1,
            containers: [
              {
                ...container,
                env: [
                  ...(container['env'] as object[]),
                  ...Object.entries(env).map(([name, value]) => ({ name, value })),
                ],
                volumeMounts: [{ name: 'ca', mountPath: '/etc/vendor' }],
              },
            ],
            volumes: [{ name: 'ca', configMap: { name: 'vendor-ca' } }],
          },
        },
      },
    },
  ];
}

export function teamNamespaces(): readonly DemoObject[] {
  return TEAMS.map(({ name }) => namespaceObject(name));
}
