/** Local mode's composition root: arguments in, exit code out. */
import { systemClock } from '../../sidecar/base/clock.ts';
import { AppError } from '../../sidecar/base/errors.ts';
import { parseArguments, USAGE } from './arguments.ts';
import { readLocalConfig } from './config.ts';
import { runLocal } from './run.ts';

const EXIT = { done: 0, failed: 1, wrong: 2 } as const;

const say = (text: string): void => void process.stdout.write(`${text}\n`);
const tell = (text: string): void => void process.stderr.write(`${text}\n`);

async function main(argv: readonly string[]): Promise<number> {
  const parsed = parseArguments(argv);
  if (parsed.kind === 'help') {
    say(USAGE);
    return EXIT.done;
  }
  if (parsed.kind === 'wrong') {
    tell(`${parsed.problems.join('\n')}\n\n${USAGE}`);
    return EXIT.wrong;
  }
  const ended = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(name, () => ended.abort());
  // A closed pipe ends it like Ctrl-C: an unheard error would skip the removal of the file that holds the key.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => ended.abort());
  try {
    await runLocal(parsed.options, { clock: systemClock, config: readLocalConfig(), say, tell }, ended.signal);
    return EXIT.done;
  } catch (reason) {
    if (ended.signal.aborted) return EXIT.done;
    const error = AppError.from(reason);
    tell(error.message);
    return error.code === 'invalid' ? EXIT.wrong : EXIT.failed;
  }
}

process.exitCode = await main(process.argv.slice(2));
