/** The mutation check: takes one guard of the engine away at a time and expects a test to turn red. */
import { resolve } from 'node:path';
import { copyProject, type Copy } from './copy.ts';
import type { Mutant } from './mutant.ts';
import { runTests } from './red.ts';
import { MUTANTS, tableFaults } from './table.ts';

const ROOT = resolve(import.meta.dirname, '../../..');

export interface CheckOptions {
  /** Mutants whose rule or guard holds this text. Default: all. */
  readonly only?: string;
  /** Only the few that fit into `npm test`. */
  readonly fast?: boolean;
  /** How many at once. Default: 2. */
  readonly jobs?: number;
  readonly signal: AbortSignal;
  readonly log: (line: string) => void;
}

export interface CheckResult {
  readonly killed: number;
  /** Survivors, mutants that only break the code, and faults of the table. */
  readonly failed: number;
}

export function chosen({ only = '', fast = false }: Pick<CheckOptions, 'only' | 'fast'>): readonly Mutant[] {
  return MUTANTS.filter((mutant) => (!fast || mutant.fast) && `${mutant.rule} ${mutant.guard}`.includes(only));
}

export async function checkMutants(options: CheckOptions): Promise<CheckResult> {
  const { log } = options;
  const faults = tableFaults(ROOT);
  for (const fault of faults) log(`TABLE     ${fault}`);
  if (faults.length > 0) return { killed: 0, failed: faults.length };
  const mutants = chosen(options);
  const leftOut = MUTANTS.length - mutants.length;
  log(`left out: ${leftOut} of ${MUTANTS.length} mutants${options.fast ? ' (npm run proof runs them)' : ''}`);
  if (mutants.length === 0) return { killed: 0, failed: 1 };
  using first = copyProject(ROOT);
  const files = [...new Set(mutants.flatMap(({ red }) => red))];
  const unchanged = await runTests(first.folder, files, options.signal);
  if (unchanged.kind !== 'green') {
    log(`RED       without any mutant: ${unchanged.kind === 'red' ? unchanged.test : unchanged.why}`);
    return { killed: 0, failed: 1 };
  }
  using others = new DisposableStack();
  const copies = [first];
  while (copies.length < Math.min(options.jobs ?? 2, mutants.length)) copies.push(others.use(copyProject(ROOT)));
  const left = mutants.values();
  const killed = await Promise.all(copies.map((copy) => work(copy, left, options)));
  const total = killed.reduce((sum, count) => sum + count, 0);
  return { killed: total, failed: mutants.length - total };
}

/** Takes mutants until none is left; how many were killed. */
async function work(copy: Copy, left: Iterable<Mutant>, { signal, log }: CheckOptions): Promise<number> {
  let killed = 0;
  for (const mutant of left) {
    const started = performance.now();
    using _changed = copy.changed(mutant);
    const result = await runTests(copy.folder, mutant.red, signal);
    const seconds = ((performance.now() - started) / 1000).toFixed(1).padStart(5);
    const name = `${seconds} s  ${mutant.rule}  ${mutant.guard}`;
    if (result.kind === 'red') {
      killed += 1;
      log(`killed    ${name}  ← ${result.test}`);
    } else if (result.kind === 'green') {
      log(`SURVIVED ${name}`);
    } else {
      log(`BROKEN   ${name}: ${result.why.slice(0, 600)}`);
    }
  }
  return killed;
}
