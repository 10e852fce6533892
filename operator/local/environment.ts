/** The lines a shell needs to point its programs at the sidecar. */
import type { EnvironmentVariable } from '../trees/agent-environment.ts';

const PLAIN = /^[A-Za-z0-9_./:@%+=,-]+$/;

function quoted(value: string): string {
  return PLAIN.test(value) ? value : `'${value.replaceAll("'", String.raw`'\''`)}'`;
}

/** One `export NAME=value` a line, for POSIX shells. */
export function renderExports(variables: readonly EnvironmentVariable[]): string {
  return variables.map(({ name, value }) => `export ${name}=${quoted(value)}`).join('\n');
}
