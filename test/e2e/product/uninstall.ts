/** What stays and what goes with `helm uninstall`. Runs last. */
import { beforeAll, expect, test } from 'vitest';
import {
  apply,
  attempt,
  getJson,
  type Manifest,
  namespaceObject,
  OPERATOR_NAMESPACE,
  type Platform,
} from '#test/support/platform.ts';

const CLUSTER_WIDE = [
  'mutatingwebhookconfigurations',
  'validatingwebhookconfigurations',
  'validatingadmissionpolicies',
  'validatingadmissionpolicybindings',
  'clusterroles',
  'clusterrolebindings',
];
const NAMESPACED = [
  'roles',
  'rolebindings',
  'deployments',
  'statefulsets',
  'services',
  'configmaps',
  'serviceaccounts',
];

interface Names {
  readonly items: readonly { readonly metadata: { readonly name: string; readonly uid: string } }[];
}

export function uninstall(platform: () => Platform): void {
  let objectsBefore: ReadonlySet<string>;

  const ours = async (): Promise<ReadonlySet<string>> => {
    const { items } = await getJson<Names>(platform(), 'glma,glmq,glmc,ap', '-A');
    return new Set(items.map(({ metadata }) => metadata.uid));
  };

  beforeAll(async () => {
    objectsBefore = await ours();
    expect(objectsBefore.size).toBeGreaterThan(0);
    await platform().cluster.helm(['uninstall', 'glmquota', '-n', OPERATOR_NAMESPACE, '--wait', '--timeout', '120s']);
  });

  test.each(CLUSTER_WIDE)('no %s stay', async (kind) => {
    const { items } = await getJson<Names>(platform(), kind);
    expect(items.map(({ metadata }) => metadata.name).filter((name) => name.includes('glmquota'))).toEqual([]);
  });

  test.each(NAMESPACED)('no %s stay in the operator namespace', async (kind) => {
    const { items } = await getJson<Names>(platform(), kind, '-n', OPERATOR_NAMESPACE);
    expect(items.map(({ metadata }) => metadata.name).filter((name) => name.includes('glmquota'))).toEqual([]);
  });

  test('definitions and objects stay as they were', async () => {
    expect(await ours()).toEqual(objectsBefore);
  });

  test('pods are created as if we had never been there', async () => {
    const image = platform().images['demo-agent'].reference;
    const pod: Manifest = {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'free', namespace: 'afterwards', labels: { 'glmquota.io/inject': 'true' } },
      spec: { containers: [{ name: 'agent', image, imagePullPolicy: 'IfNotPresent' }] },
    };
    await apply(platform(), namespaceObject('afterwards'));
    expect(await attempt(platform(), ['create', '--dry-run=server', '-f', '-'], JSON.stringify(pod))).toContain(
      'created',
    );
  });
}
