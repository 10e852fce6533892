/** Runs test files in a copy of the project and tells which test is red. */
import { spawn } from 'node:child_process';
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';

export type Result =
  | { readonly kind: 'green' }
  | { readonly kind: 'red'; readonly test: string }
  /** Not a test's verdict: the files do not load, or Lua itself fails. */
  | { readonly kind: 'broken'; readonly why: string };

interface Report {
  readonly testResults: readonly {
    readonly message: string;
    readonly assertionResults: readonly {
      readonly status: string;
      readonly fullName: string;
      readonly failureMessages: readonly string[] | null;
    }[];
  }[];
}

/** A Lua error is no proof that a test looks at the guard: it would be red for any nonsense. */
const LUA_ERROR = /attempt to |user_(?:function|script):\d+: |Error compiling/;

/** Ends at the first red test. Files are of `test/<project>/`; random histories are the same each time. */
export async function runTests(folder: string, files: readonly string[], signal: AbortSignal): Promise<Result> {
  const report = join(folder, 'report.json');
  rmSync(report, { force: true });
  const projects = new Set(files.map((file) => file.split('/')[1] ?? ''));
  const args = [
    'run',
    ...Array.from(projects, (project) => `--project=${project}`),
    '--bail=1',
    // Random histories take long; a timeout there would be no verdict.
    `--testTimeout=${projects.has('property') ? 600_000 : 20_000}`,
    '--reporter=json',
    `--outputFile=${report}`,
    ...files,
  ];
  const { code, output } = await vitest(folder, args, signal);
  const results = readReport(report)?.testResults ?? [];
  const failed = results.flatMap(({ assertionResults }) => assertionResults).find(({ status }) => status === 'failed');
  if (failed) {
    const message = (failed.failureMessages ?? []).join('\n');
    if (LUA_ERROR.test(message)) return { kind: 'broken', why: message };
    return { kind: 'red', test: failed.fullName };
  }
  if (code === 0 && results.length >= files.length) return { kind: 'green' };
  return { kind: 'broken', why: results.map(({ message }) => message).join('\n') || output };
}

function readReport(path: string): Report | null {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as Report;
  } catch {
    return null;
  }
}

async function vitest(folder: string, args: readonly string[], signal: AbortSignal) {
  signal.throwIfAborted();
  const child = spawn(join(folder, 'node_modules/.bin/vitest'), args, {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, GLMQUOTA_TEST_FORM: '', SHRINK: '0' },
    signal,
    killSignal: 'SIGTERM',
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (output += chunk.toString()));
  const code = await new Promise<number>((resolve, reject) => {
    child.on('close', (status) => resolve(status ?? 1));
    child.on('error', reject);
  });
  return { code, output };
}
