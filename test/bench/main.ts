/** `npm run bench [-- engine|gateway]…`: measures on this machine and records the numbers beside their goals. */
import { cpus, loadavg } from 'node:os';
import { benchEngine } from './engine.ts';
import { benchGateway } from './gateway.ts';

const BENCHES = { engine: benchEngine, gateway: benchGateway };
type BenchName = keyof typeof BENCHES;
const NAMES = Object.keys(BENCHES) as BenchName[];

const HELP = `Usage: npm run bench [-- ${NAMES.join('|')}]...

Measures on this machine, which should have nothing else to do, and writes test/bench/results/<bench>.json with the
goals beside the numbers (a goal that is missed is said, not an error). All of them when none is named.

  engine    how fast Redis decides on a call; whether the vendor ever sees a call too many   (1 to 2 minutes)
  gateway   what the bundled sidecar adds to a call; calls/s, memory, start; draws gateway.svg (2 to 6 minutes)
  --help    this text

Exit code: 0 measured, 1 a measurement failed, 2 wrong arguments.
`;

const started = performance.now();

function log(line: string): void {
  const seconds = Math.round((performance.now() - started) / 1000);
  console.log(`${String(seconds).padStart(4)} s  ${line}`);
}

async function main(args: readonly string[]): Promise<number> {
  if (args.includes('--help') || args.includes('-h')) {
    process.stdout.write(HELP);
    return 0;
  }
  const unknown = args.filter((name) => !Object.hasOwn(BENCHES, name));
  if (unknown.length > 0) {
    process.stderr.write(`bench: unknown argument ${unknown.join(' ')}; --help says what there is\n`);
    return 2;
  }
  const wanted = args.length === 0 ? NAMES : (args as BenchName[]);
  for (const name of wanted) {
    const [load = 0] = loadavg();
    log(`${name}: ${cpus().length} processors, load average ${load.toFixed(2)}`);
    await BENCHES[name](log);
  }
  return 0;
}

// What was started ends with this process.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));
try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  console.error(error instanceof Error ? `bench: ${error.message}` : error);
  process.exitCode = 1;
}
