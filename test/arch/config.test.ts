import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { expect, test } from 'vitest';

const root = resolve(import.meta.dirname, '../..');
const read = (file: string): string => readFileSync(join(root, file), 'utf8');
const variables = (file: string): string[] =>
  [...read(file).matchAll(/^ {2}(GLMQUOTA_\w+):(?= |$)/gm)].map((match) => match[1] ?? '');

test.each(['operator/config.ts', 'sidecar/config.ts'])('every variable of %s has a row in the README', (file) => {
  const names = variables(file);
  expect(names.length).toBeGreaterThan(5);
  const readme = read('README.md');
  expect(names.filter((name) => !readme.includes(`| \`${name}\` |`))).toEqual([]);
});

test('every variable of the operator is set by the chart, and the chart sets no other', () => {
  const template = read('charts/glmquota/templates/operator.yaml');
  const set = [...template.matchAll(/name: (GLMQUOTA_\w+)/g)].map((match) => match[1] ?? '');
  expect(set.toSorted()).toEqual(variables('operator/config.ts').toSorted());
});

test('what the injector sets is known to the sidecar or to edge', () => {
  const set = [...read('operator/webhook/sidecar-container.ts').matchAll(/'(GLMQUOTA_\w+)'/g)].map(
    (match) => match[1] ?? '',
  );
  const known = [...variables('sidecar/config.ts'), 'GLMQUOTA_BINDING', 'GLMQUOTA_PER_AGENT_CONCURRENCY'];
  expect(set.filter((name) => !known.includes(name))).toEqual([]);
});
