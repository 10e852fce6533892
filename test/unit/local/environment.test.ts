import { execFileSync } from 'node:child_process';
import { expect, test } from 'vitest';
import { renderExports } from '#operator/local/environment.ts';
import { agentEnvironment } from '#operator/trees/agent-environment.ts';

test('a shell reads back exactly the values', () => {
  const variables = [
    ...agentEnvironment('http://127.0.0.1:15787', 'CodingPlan'),
    { name: 'ODD', value: `it's "$HOME" \\ and\nmore` },
  ];
  const script = `${renderExports(variables)}\n${variables.map(({ name }) => `printf '%s\\0' "$${name}"`).join('\n')}`;
  const values = execFileSync('sh', ['-c', script], { encoding: 'utf8' }).split('\0').slice(0, -1);
  expect(values).toEqual(variables.map(({ value }) => value));
});
