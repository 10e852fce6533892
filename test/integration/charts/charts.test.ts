import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { ensureBinaries } from '../../cluster/binaries.ts';
import { run } from '../../cluster/command.ts';
import { renderChart } from '../../support/chart.ts';

const root = resolve(import.meta.dirname, '../../..');
let helm: string;
let objects: Manifest[];

interface Manifest {
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly annotations?: Record<string, string>;
  };
  readonly [field: string]: unknown;
}

function parse(yaml: string): Manifest[] {
  return parseAllDocuments(yaml).flatMap((document) => (document.toJS() as Manifest | null) ?? []);
}

beforeAll(async () => {
  helm = (await ensureBinaries(['helm'], { log: (line) => console.error(line) })).helm;
  objects = parse(await renderChart());
});

test.each(['glmquota', 'glmquota-crds'])('helm lint finds nothing wrong with %s', async (chart) => {
  expect(await run(helm, ['lint', '--strict', join(root, 'charts', chart)])).toContain('0 chart(s) failed');
});

test('the definitions in the chart are those of crds/, kept when the release goes', () => {
  const sources = readdirSync(join(root, 'crds')).filter((file) => file.endsWith('.yaml'));
  const expected = sources.map((file) => parse(readFileSync(join(root, 'crds', file), 'utf8'))[0]?.metadata.name);
  const definitions = objects.filter(({ kind }) => kind === 'CustomResourceDefinition');
  expect(definitions.map(({ metadata }) => metadata.name).toSorted((a, b) => a.localeCompare(b))).toEqual(
    expected.toSorted((a = '', b = '') => a.localeCompare(b)),
  );
  for (const { metadata } of definitions) expect(metadata.annotations?.['helm.sh/resource-policy']).toBe('keep');
});

test('crds.enabled: false leaves the definitions out', async () => {
  const without = parse(await renderChart({ set: { 'crds.enabled': 'false' } }));
  expect(without.filter(({ kind }) => kind === 'CustomResourceDefinition')).toEqual([]);
});

test('no Secret is rendered: Helm would make it anew at each upgrade', () => {
  expect(objects.filter(({ kind }) => kind === 'Secret')).toEqual([]);
});

test.each([
  ['an unknown value', { typo: '1' }, /typo/],
  ['a misspelt pull policy', { 'image.pullPolicy': 'Sometimes' }, /pullPolicy/],
  ['plain Redis', { 'redis.enabled': 'false', 'externalRedis.url': 'redis://r:6379' }, /externalRedis/],
  ['no Redis at all', { 'redis.enabled': 'false' }, /externalRedis.url/],
  ['nought replicas', { 'edge.replicas': '0' }, /replicas/],
])('%s is refused before anything is installed', async (_, set, message) => {
  await expect(renderChart({ set: set as Record<string, string> })).rejects.toThrow(message);
});

test('an external Redis replaces the bundled one', async () => {
  const set = {
    'redis.enabled': 'false',
    'externalRedis.url': 'rediss://cache.example.com:6379',
    'externalRedis.secretName': 'mine',
  };
  const text = await renderChart({ set });
  expect(parse(text).filter(({ kind }) => kind === 'StatefulSet')).toEqual([]);
  expect(text).toContain('rediss://cache.example.com:6379');
});

test('every container runs restricted', () => {
  const workloads = objects.filter(({ kind }) => kind === 'Deployment' || kind === 'StatefulSet');
  expect(workloads.length).toBe(3);
  for (const workload of workloads) {
    const spec = (workload['spec'] as { template: { spec: Record<string, unknown> } }).template.spec;
    expect(spec['securityContext']).toMatchObject({ runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } });
    for (const container of spec['containers'] as { securityContext: unknown }[]) {
      expect(container.securityContext).toMatchObject({
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        capabilities: { drop: ['ALL'] },
      });
    }
  }
});

test('no role grants everything', () => {
  const rules = objects
    .filter(({ kind }) => kind === 'ClusterRole' || kind === 'Role')
    .flatMap((role) => role['rules'] as Record<string, string[]>[]);
  for (const rule of rules)
    expect([...(rule['verbs'] ?? []), ...(rule['resources'] ?? []), ...(rule['apiGroups'] ?? [])]).not.toContain('*');
});
