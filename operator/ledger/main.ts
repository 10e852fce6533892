/** The replay's composition root: arguments in, exit code out. */
import { systemClock } from '../../sidecar/base/clock.ts';
import { AppError } from '../../sidecar/base/errors.ts';
import { parseArguments, USAGE } from './arguments.ts';
import { render } from './report.ts';
import { replayTree } from './run.ts';

const EXIT = { same: 0, different: 1, failed: 1, wrong: 2 } as const;

const say = (text: string): void => void process.stdout.write(`${text}\n`);
const tell = (text: string): void => void process.stderr.write(`${text}\n`);

async function main(argv: readonly string[]): Promise<number> {
  const parsed = parseArguments(argv);
  if (parsed.kind === 'help') {
    say(USAGE);
    return EXIT.same;
  }
  if (parsed.kind === 'wrong') {
    tell(`${parsed.problems.join('\n')}\n\n${USAGE}`);
    return EXIT.wrong;
  }
  const ended = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(name, () => ended.abort());
  try {
    const result = await replayTree(parsed.options, systemClock, ended.signal);
    say(parsed.options.json ? JSON.stringify(result, null, 2) : render(result));
    return result.differenceCount > 0 ? EXIT.different : EXIT.same;
  } catch (reason) {
    const error = AppError.from(reason);
    tell(error.message);
    return error.code === 'invalid' ? EXIT.wrong : EXIT.failed;
  }
}

process.exitCode = await main(process.argv.slice(2));
