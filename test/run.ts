/**
 * `npm test`: the checks, then every test project, fastest first. Ends with one line `N passed, N failed`.
 * `--only unit,e2e` runs a part; `--help` lists the parts.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { checkMutants } from '#test/proof/mutation/check.ts';

/** Project → why it is slow enough to stand alone. `unit` and `arch` are part of `check`. */
const PARTS = ['check', 'mutation', 'property', 'simulation', 'integration', 'scripts', 'e2e'] as const;
type Part = (typeof PARTS)[number];

interface Tally {
  passed: number;
  failed: number;
}

const { values } = parseArgs({ options: { only: { type: 'string' }, help: { type: 'boolean' } } });
if (values.help) {
  console.log(`Usage: npm test [-- --only ${PARTS.join(',')}]`);
  process.exit(0);
}
const wanted = values.only?.split(',') ?? [...PARTS];
const unknown = wanted.filter((part) => !PARTS.includes(part as Part));
if (unknown.length > 0) {
  console.error(`test: no such part: ${unknown.join(', ')}; there are ${PARTS.join(', ')}`);
  process.exit(2);
}

async function spawned(program: string, args: readonly string[]): Promise<number> {
  const child = spawn(program, args, { stdio: 'inherit' });
  return new Promise((resolve, reject) => {
    child.on('close', (code) => resolve(code ?? 1));
    child.on('error', reject);
  });
}

async function runProjects(projects: readonly string[], folder: string): Promise<Tally> {
  const report = join(folder, `${projects.join('-')}.json`);
  const args = ['run', ...projects.flatMap((project) => ['--project', project])];
  const code = await spawned('vitest', [
    ...args,
    '--reporter=default',
    '--reporter=json',
    `--outputFile.json=${report}`,
  ]);
  const { numPassedTests, numFailedTests } = JSON.parse(readFileSync(report, 'utf8')) as Record<string, number>;
  const failed = numFailedTests ?? 0;
  // A suite that could not even start counts as a failure though none of its tests ran.
  return { passed: numPassedTests ?? 0, failed: code !== 0 && failed === 0 ? 1 : failed };
}

/** The guards whose tests are fastest; `npm run proof` takes them all. */
async function runMutation(): Promise<Tally> {
  const { signal } = new AbortController();
  const { killed, failed } = await checkMutants({ fast: true, signal, log: (line) => console.log(line) });
  return { passed: killed, failed };
}

async function runPart(part: Part, folder: string): Promise<Tally> {
  if (part === 'mutation') return runMutation();
  if (part !== 'check') return runProjects([part], folder);
  const failed = (await spawned('node', ['test/check.ts', '--without-tests'])) === 0 ? 0 : 1;
  const tests = await runProjects(['unit', 'arch'], folder);
  return { passed: tests.passed, failed: tests.failed + failed };
}

const folder = mkdtempSync(join(tmpdir(), 'glmquota-test-'));
const total: Tally = { passed: 0, failed: 0 };
try {
  for (const part of PARTS.filter((each) => wanted.includes(each))) {
    const started = performance.now();
    console.log(`\n== ${part}`);
    const tally = await runPart(part, folder);
    console.log(
      `== ${part}: ${tally.passed} passed, ${tally.failed} failed, ${Math.round((performance.now() - started) / 1000)} s`,
    );
    total.passed += tally.passed;
    total.failed += tally.failed;
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
console.log(`\n${total.passed} passed, ${total.failed} failed`);
process.exitCode = total.failed === 0 ? 0 : 1;
