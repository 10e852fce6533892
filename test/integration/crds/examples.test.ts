import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startApiServer, type ApiServer } from '#test/support/api-server.ts';

const folder = resolve(import.meta.dirname, '../../../crds');
const yamlIn = (path: string): string[] => readdirSync(join(folder, path)).filter((name) => name.endsWith('.yaml'));
const definitions = yamlIn('.');
const valid = yamlIn('examples/valid');
const invalid = yamlIn('examples/invalid');

let server: ApiServer;

beforeAll(async () => {
  server = await startApiServer();
  // Plain client-side apply, as users do: it keeps the whole definition in an annotation.
  for (const name of definitions) await server.kubectl(['apply', '-f', join(folder, name)]);
  for (const namespace of ['glm', 'team-a']) await server.kubectl(['create', 'namespace', namespace]);
  const names = definitions.map((name) => `crd/${name.replace('.yaml', '')}.glmquota.io`);
  await server.kubectl(['wait', '--for=condition=Established', '--timeout=30s', ...names]);
});

afterAll(() => server[Symbol.asyncDispose]());

test.each(definitions)('%s is small enough for the annotation of kubectl apply', (name) => {
  expect(readFileSync(join(folder, name)).length).toBeLessThan(250_000);
});

test.each(definitions)('%s has nothing that the API server calls wrong in its schema', async (name) => {
  const crd = JSON.parse(await server.kubectl(['get', '-o', 'json', '-f', join(folder, name)])) as {
    status: { conditions: { type: string; status: string; message: string }[] };
  };
  expect(crd.status.conditions.find(({ type }) => type === 'NonStructuralSchema')).toBeUndefined();
});

describe('valid examples', () => {
  test.each(valid)('%s is accepted', async (name) => {
    const applied = await server.kubectl(['apply', '--validate=strict', '-f', join(folder, 'examples/valid', name)]);
    expect(applied).toMatch(/created|unchanged/);
  });
});

describe('invalid examples', () => {
  test.each(invalid)('%s is refused with the message it names', async (name) => {
    const path = join(folder, 'examples/invalid', name);
    const expected = /^# expect: (.+)$/m.exec(readFileSync(path, 'utf8'))?.[1];
    expect(expected, 'the first line names the message').toBeDefined();
    const answer = await server.kubectl(['create', '--dry-run=server', '--validate=strict', '-f', path]).then(
      () => 'accepted',
      (error: unknown) => String(error),
    );
    expect(answer).toContain(expected);
  });
});

test('the catalog that ships is accepted, and listed with its columns', async () => {
  const shipped = resolve(folder, '../operator/controllers/glmcatalog/default.yaml');
  await server.kubectl(['apply', '--server-side', '--validate=strict', '-f', shipped]);
  expect(await server.kubectl(['get', 'glmc'])).toMatch(/NAME +READY +EXTENDS +CONTENT +AGE\n(.*\n)*default /);
});

test('an AgentPool is scaled through its scale subresource', async () => {
  await server.kubectl(['apply', '-f', join(folder, 'examples/valid/agentpool-minimal.yaml')]);
  await server.kubectl(['-n', 'team-a', 'scale', 'agentpool/reviewers', '--replicas=3']);
  const replicas = await server.kubectl(['-n', 'team-a', 'get', 'ap/reviewers', '-o', 'jsonpath={.spec.replicas}']);
  expect(replicas).toBe('3');
});

test('all kinds are listed by their category, with their columns', async () => {
  await server.kubectl(['apply', '-f', join(folder, 'examples/valid')]);
  const listed = await server.kubectl(['get', 'glm', '-A']);
  for (const name of ['glmaccount.glmquota.io/max', 'glmquota.glmquota.io/team-a', 'agentpool.glmquota.io/writers'])
    expect(listed).toContain(name);
  const columns = await server.kubectl(['-n', 'glm', 'get', 'glmq']);
  expect(columns).toMatch(/NAME +READY +USED % +IN FLIGHT +QUEUED +BLOCKED BY +UNTIL +AGE/);
});
