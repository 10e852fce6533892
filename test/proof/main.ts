/** `npm run proof`: all that is shown of the engine, at full length. `npm test` runs a part of it. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { chosenParts, endWith, type Outcome, type Part, runParts, runProjects, stopSignal, summed } from '../parts.ts';
import type { Surroundings } from '../parts.ts';
import { runMutants } from './mutation/part.ts';
import { printTable, writeFaults } from './report.ts';

const FULL = { GLMQUOTA_PROOF: 'full' };
const NO_TIMEOUT = { testTimeoutMs: 0 };
/** Of npm test, with more connections. */
const STORM = 'test/integration/engine/connection-storm';

async function proveFaults(surroundings: Surroundings): Promise<Outcome> {
  const rows = join(surroundings.folder, 'rows');
  mkdirSync(rows);
  const proofs = await runProjects(['proof'], { ...surroundings, ...NO_TIMEOUT, env: { GLMQUOTA_PROOF_ROWS: rows } });
  const outcome = summed([proofs, await runProjects(['integration'], { ...surroundings, env: FULL, files: [STORM] })]);
  writeFaults(rows, outcome);
  return outcome;
}

const PARTS: readonly Part[] = [
  {
    name: 'rivals',
    what: 'what users of other gateways complain about, each as a test',
    run: (of) => runProjects(['integration'], { ...of, files: ['test/integration/rivals'] }),
  },
  {
    name: 'property',
    what: 'ten times the random histories of npm test, of a seed nobody has seen (GLMQUOTA_SEED sets it, RUNS the number)',
    run: (of) => runProjects(['property'], { ...of, ...NO_TIMEOUT, env: FULL }),
  },
  {
    name: 'simulation',
    what: 'sidecars, network and Redis from one seed: thousands of histories (SEEDS sets how many of each class of faults)',
    run: (of) => runProjects(['simulation'], { ...of, ...NO_TIMEOUT, env: FULL }),
  },
  {
    name: 'faults',
    what: 'real processes killed, stopped, cut off and moved, each held to its bound; writes test/proof/results',
    run: proveFaults,
  },
  {
    name: 'mutation',
    what: 'every guard of the engine taken away, one at a time: a test must see it',
    run: (of) => runMutants(of),
  },
];

const HELP = `Usage: npm run proof [-- --only ${PARTS.map(({ name }) => name).join(',')}] [--list]

Shows what sidecar/engine/GUARANTEES.md says, at full length: hours on two cores. The parts run one after the other; one that
fails does not keep the others from running.

  --only a,b  these parts
  --list      the parts, and runs nothing
  --help      this text

Exit code: 0 all holds, 1 something does not, 2 wrong arguments.
`;

const OPTIONS = { only: { type: 'string' }, list: { type: 'boolean' }, help: { type: 'boolean' } } as const;

async function main(args: string[]): Promise<number> {
  const { values } = parseArgs({ args, options: OPTIONS });
  if (values.help) {
    process.stdout.write(HELP);
    return 0;
  }
  const parts = chosenParts(PARTS, values.only);
  if (values.list) {
    for (const { name, what } of parts) console.log(`${name.padEnd(12)} ${what}`);
    return 0;
  }
  const results = await runParts(parts, stopSignal());
  printTable(parts, results);
  const { passed, failed } = summed(results);
  console.log(`\n${passed} passed, ${failed} failed`);
  return failed === 0 && results.length === parts.length ? 0 : 1;
}

await endWith('proof', main);
