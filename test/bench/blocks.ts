/** Loads in a process of their own, and numbers over several blocks of one run. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { LoadPlan, LoadResult } from './load.ts';
import { CHAT, DIRECT_KEY, MODEL } from './world.ts';

const LOAD = join(import.meta.dirname, 'load.ts');
const runFile = promisify(execFile);

export async function runLoad(plan: LoadPlan): Promise<LoadResult> {
  const { stdout } = await runFile(process.execPath, [LOAD, JSON.stringify(plan)]);
  return JSON.parse(stdout) as LoadResult;
}

/** 1 kB of question; what `[[sim …]]` in `directive` asks of the simulator. */
export function chatBody(directive: string, stream: boolean): string {
  const content = `${'Why does the build fail on the second machine only? '.repeat(18)}${directive}`;
  const messages = [
    { role: 'system', content: 'You are a careful engineer.' },
    { role: 'user', content },
  ];
  return JSON.stringify({ model: MODEL, stream, max_tokens: 1024, messages });
}

export type CallShape = Pick<LoadPlan, 'path' | 'headers' | 'body'>;

/** The credential is the one of the direct account; a sidecar replaces it. */
export function chatCall(directive = '', stream = false): CallShape {
  const headers = { 'content-type': 'application/json', authorization: `Bearer ${DIRECT_KEY}` };
  return { path: CHAT, headers, body: chatBody(directive, stream) };
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length / 2;
  const upper = sorted[Math.floor(middle)] ?? Number.NaN;
  return Number.isInteger(middle) ? (upper + (sorted[middle - 1] ?? Number.NaN)) / 2 : upper;
}

/** Of each block's value. */
export function medianOf<T>(blocks: readonly T[], value: (block: T) => number): number {
  return median(blocks.map(value));
}
