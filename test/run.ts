/**
 * `npm test`: the checks, then every test project, fastest first. Ends with what it left out and one line
 * `N passed, N failed`. `--only unit,e2e` runs a part; `--help` lists the parts.
 */
import { parseArgs } from 'node:util';
import {
  chosenParts,
  endWith,
  type Outcome,
  type Part,
  runParts,
  runProgram,
  runProjects,
  stopSignal,
  summed,
} from './parts.ts';
import type { Surroundings } from './parts.ts';
import { runMutants } from './proof/mutation/part.ts';

async function runChecks(surroundings: Surroundings): Promise<Outcome> {
  const { code, leftOut } = await runProgram('node', ['test/check.ts', '--without-tests'], surroundings);
  return summed([
    { passed: 0, failed: code === 0 ? 0 : 1, leftOut },
    await runProjects(['unit', 'arch'], surroundings),
  ]);
}

/** `leftOut`: what `npm run proof` runs of it besides. A part may say more while it runs. */
const project = (name: string, what: string, ...leftOut: readonly string[]): Part => ({
  name,
  what,
  run: async (of) => summed([await runProjects([name], of), { passed: 0, failed: 0, leftOut }]),
});

const PARTS: readonly Part[] = [
  { name: 'check', what: 'format, lint, types, generated code, unit and architecture tests', run: runChecks },
  {
    name: 'mutation',
    what: "some of the engine's guards taken away, one at a time: a test must see it",
    run: (of) => runMutants(of, { fast: true }),
  },
  project(
    'property',
    'what must hold for random input; the engine beside its model',
    'nine tenths of the random histories, and seeds other than the fixed one',
  ),
  project('simulation', 'sidecars, network and Redis from one seed'),
  project('faults', 'real processes killed, stopped and cut off, each held to its bound; a minute of soak'),
  project('integration', 'each part with real neighbours'),
  project('scripts', "the engine's suites with scripts in place of functions"),
  project('e2e', 'the product on a cluster'),
];

const HELP = `Usage: npm test [-- --only ${PARTS.map(({ name }) => name).join(',')}]

${PARTS.map(({ name, what }) => `  ${name.padEnd(12)} ${what}`).join('\n')}

What these leave out is said at the end, and run by npm run proof. Exit code: 0 all passed, 1 not, 2 wrong arguments.
`;

async function main(args: string[]): Promise<number> {
  const { values } = parseArgs({ args, options: { only: { type: 'string' }, help: { type: 'boolean' } } });
  if (values.help) {
    process.stdout.write(HELP);
    return 0;
  }
  const parts = chosenParts(PARTS, values.only);
  const results = await runParts(parts, stopSignal());
  const { passed, failed } = summed(results);
  const leftOut = results.flatMap((part) => part.leftOut.map((what) => `${part.name}: ${what}`));
  if (leftOut.length > 0) {
    console.log('\nleft out of npm test, run by npm run proof:');
    for (const what of leftOut) console.log(`  ${what}`);
  }
  console.log(`\n${passed} passed, ${failed} failed`);
  return failed === 0 && results.length === parts.length ? 0 : 1;
}

await endWith('test', main);
