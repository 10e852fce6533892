/** What `npm run proof` leaves: a table of its parts on the screen, the rows of the fault matrix in `results`. */
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import type { Outcome, Part, PartResult } from '../parts.ts';
import { type ProofRow, RESULTS } from './stand/results.ts';

/** One line a part; a part that did not run, because the run was stopped, is there too. */
export function printTable(parts: readonly Part[], results: readonly PartResult[]): void {
  console.log(`\n${'part'.padEnd(12)} ${'passed'.padStart(8)} ${'failed'.padStart(8)} ${'seconds'.padStart(8)}`);
  for (const { name } of parts) {
    const result = results.find((each) => each.name === name);
    const cells = result ? [result.passed, result.failed, result.seconds] : ['-', '-', '-'];
    console.log(`${name.padEnd(12)} ${cells.map((cell) => String(cell).padStart(8)).join(' ')}`);
  }
}

/** Writes `results/proof.json` and `results/proof.md` from the rows the proofs left in a folder. */
export function writeFaults(folder: string, { passed, failed }: Outcome): void {
  const rows = readdirSync(folder)
    .toSorted()
    .map((name) => JSON.parse(readFileSync(join(folder, name), 'utf8')) as ProofRow);
  if (rows.length === 0) return;
  const document = {
    proof: 'faults',
    at: new Date().toISOString(),
    node: process.version,
    redis: redisVersion(),
    cpus: cpus().length,
    passed,
    failed,
    rows,
  };
  writeFileSync(join(RESULTS, 'proof.json'), `${JSON.stringify(document, null, 2)}\n`);
  writeFileSync(join(RESULTS, 'proof.md'), markdown(document));
}

interface FaultDocument {
  readonly at: string;
  readonly node: string;
  readonly redis: string;
  readonly cpus: number;
  readonly passed: number;
  readonly failed: number;
  readonly rows: readonly ProofRow[];
}

function markdown({ at, node, redis, cpus: processors, passed, failed, rows }: FaultDocument): string {
  const lines = rows.map(
    ({ name, limit, bound, peak, calls }) =>
      `| [${name}](${name}.svg) | ${limit ?? 'none'} | ${bound} | ${peak} | ${calls} |`,
  );
  return `# Calls in flight at the vendor through each fault

Written by \`npm run proof\` at ${at}: ${passed} tests passed, ${failed} failed; Node ${node}, Redis ${redis}, ${processors} processors.
Peak: the most calls at once by the vendor simulator's own book, from headers received to response ended or socket closed.

| fault | limit | bound | peak | calls |
|---|---|---|---|---|
${lines.join('\n')}
`;
}

function redisVersion(): string {
  return /v=(\S+)/.exec(execFileSync('redis-server', ['--version'], { encoding: 'utf8' }))?.[1] ?? 'unknown';
}
