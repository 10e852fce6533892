/** Long runs of tests in parts, one after the other: what `npm test` and `npm run proof` share. */
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { stripVTControlCharacters } from 'node:util';

export interface Outcome {
  readonly passed: number;
  readonly failed: number;
  /** What the part says it did not run: its lines `left out: …`. */
  readonly leftOut: readonly string[];
}

export interface Surroundings {
  /** For files of this run; removed at its end. */
  readonly folder: string;
  readonly signal: AbortSignal;
}

export interface Part {
  readonly name: string;
  readonly what: string;
  run(surroundings: Surroundings): Promise<Outcome>;
}

export interface PartResult extends Outcome {
  readonly name: string;
  readonly seconds: number;
}

/** The parts named, in the order they stand in; all without names. Throws a RangeError for a name that there is not. */
export function chosenParts(parts: readonly Part[], only: string | undefined): readonly Part[] {
  const names = only?.split(',') ?? parts.map(({ name }) => name);
  const unknown = names.filter((name) => parts.every((part) => part.name !== name));
  if (unknown.length > 0) {
    throw new RangeError(`no such part: ${unknown.join(', ')}; there are ${parts.map(({ name }) => name).join(', ')}`);
  }
  return parts.filter(({ name }) => names.includes(name));
}

/** A part that fails does not keep the rest from running; a stop does. */
export async function runParts(parts: readonly Part[], signal: AbortSignal): Promise<readonly PartResult[]> {
  const folder = mkdtempSync(join(tmpdir(), 'glmquota-test-'));
  const results: PartResult[] = [];
  try {
    for (const part of parts) {
      if (signal.aborted) break;
      console.log(`\n== ${part.name}`);
      const started = performance.now();
      const outcome = await part.run({ folder, signal }).catch(failure);
      const seconds = Math.round((performance.now() - started) / 1000);
      console.log(`== ${part.name}: ${outcome.passed} passed, ${outcome.failed} failed, ${seconds} s`);
      results.push({ name: part.name, seconds, ...outcome });
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  return results;
}

function failure(error: unknown): Outcome {
  console.error(error);
  return { passed: 0, failed: 1, leftOut: [] };
}

/** All outcomes as one. */
export function summed(outcomes: readonly Outcome[]): Outcome {
  return {
    passed: outcomes.reduce((sum, { passed }) => sum + passed, 0),
    failed: outcomes.reduce((sum, { failed }) => sum + failed, 0),
    leftOut: outcomes.flatMap(({ leftOut }) => leftOut),
  };
}

export interface ProjectOptions extends Surroundings {
  /** Beginnings of paths. Default: all files of the projects. */
  readonly files?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** 0: none. Default: that of the project. */
  readonly testTimeoutMs?: number;
}

/** Runs projects of `vitest.config.ts`. */
export async function runProjects(projects: readonly string[], options: ProjectOptions): Promise<Outcome> {
  const { folder, files = [], env = {}, testTimeoutMs, signal } = options;
  const report = join(folder, `${projects.join('-')}.json`);
  const timeout = testTimeoutMs === undefined ? [] : [`--testTimeout=${testTimeoutMs}`];
  const chosen = projects.flatMap((project) => ['--project', project]);
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${report}`];
  const args = ['run', ...chosen, ...timeout, ...reporters, ...files];
  const { code, leftOut } = await runProgram('vitest', args, { env, signal });
  const { numPassedTests, numFailedTests } = JSON.parse(readFileSync(report, 'utf8')) as Record<string, number>;
  const failed = numFailedTests ?? 0;
  // A suite that could not even start counts as a failure though none of its tests ran.
  return { passed: numPassedTests ?? 0, failed: code !== 0 && failed === 0 ? 1 : failed, leftOut };
}

/** Runs a program whose output is shown as it comes, and read for lines `left out: …`. */
export async function runProgram(
  program: string,
  args: readonly string[],
  { env = {}, signal }: Pick<ProjectOptions, 'env' | 'signal'>,
): Promise<{ readonly code: number; readonly leftOut: readonly string[] }> {
  const colours = process.stdout.isTTY ? { FORCE_COLOR: '1' } : {};
  const child = spawn(program, args, {
    stdio: ['inherit', 'pipe', 'pipe'],
    env: { ...process.env, ...colours, ...env },
    signal,
    killSignal: 'SIGTERM',
  });
  const leftOut: string[] = [];
  show(child.stdout, process.stdout, leftOut);
  show(child.stderr, process.stderr, leftOut);
  const code = await new Promise<number>((resolve, reject) => {
    child.on('close', (status) => resolve(status ?? 1));
    child.on('error', reject);
  });
  return { code, leftOut };
}

function show(from: Readable, to: Writable, leftOut: string[]): void {
  from.on('data', (chunk: Buffer) => to.write(chunk));
  createInterface({ input: from }).on('line', (line) => leftOut.push(...leftOutIn(line)));
}

/** What a line `left out: … (npm run proof runs it)` names; nothing for other lines. */
export function leftOutIn(line: string): readonly string[] {
  const said = /^\s*left out: (.+?)(?: \(npm run proof runs \w+\))?\s*$/.exec(stripVTControlCharacters(line))?.[1];
  return said === undefined ? [] : [said];
}

/** Stops a run when its process is told to end. */
export function stopSignal(): AbortSignal {
  const stop = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort());
  return stop.signal;
}

/** Ends the process with what a command says: 0 or 1; 2 where its arguments were wrong. */
export async function endWith(command: string, main: (args: string[]) => Promise<number>): Promise<void> {
  try {
    process.exitCode = await main(process.argv.slice(2));
  } catch (error) {
    console.error(error instanceof Error ? `${command}: ${error.message}` : error);
    // `parseArgs` throws a TypeError, `chosenParts` a RangeError.
    process.exitCode = error instanceof TypeError || error instanceof RangeError ? 2 : 1;
  }
}
