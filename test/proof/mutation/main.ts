/** `node test/proof/mutation/main.ts`: shows that every guard of the engine has a test that turns red without it. */
import { parseArgs } from 'node:util';
import { checkMutants, chosen } from './check.ts';

const HELP = `Usage: node test/proof/mutation/main.ts [--only text] [--fast] [--jobs n] [--list]

Takes one guard of the engine away at a time, in a copy of the project, and expects a test to turn red.

  --only text  mutants whose rule or guard holds this text
  --fast       the few that npm test runs
  --jobs n     how many at once; 2 without
  --list       shows the mutants and runs nothing
  --help       this text

Exit code: 0 all killed; 1 one survived, or the table does not fit the code any more; 2 wrong arguments.
`;

const OPTIONS = {
  only: { type: 'string' },
  fast: { type: 'boolean' },
  jobs: { type: 'string' },
  list: { type: 'boolean' },
  help: { type: 'boolean' },
} as const;

async function main(args: readonly string[]): Promise<number> {
  const { values } = parseArgs({ args: [...args], options: OPTIONS });
  if (values.help) {
    process.stdout.write(HELP);
    return 0;
  }
  if (values.list) {
    for (const { rule, guard, file, red } of chosen(values))
      console.log(`${rule}  ${guard}  ${file}  ${red.join(' ')}`);
    return 0;
  }
  const stop = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort());
  const { killed, failed } = await checkMutants({
    ...values,
    jobs: Number(values.jobs ?? 2),
    signal: stop.signal,
    log: (line) => console.log(line),
  });
  console.log(`\n${killed} killed, ${failed} failed`);
  return failed === 0 ? 0 : 1;
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  console.error(error instanceof Error ? `mutation: ${error.message}` : error);
  process.exitCode = error instanceof TypeError ? 2 : 1;
}
