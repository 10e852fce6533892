/** `npm run bench [-- engine|gateway]… [--quick]`: measures on this machine and records the numbers beside their goals. */
import { cpus, loadavg } from 'node:os';
import { benchEngine } from './engine.ts';
import { benchGateway } from './gateway.ts';

const BENCHES = { engine: benchEngine, gateway: benchGateway };
type BenchName = keyof typeof BENCHES;
const NAMES = Object.keys(BENCHES) as BenchName[];

const HELP = `Usage: npm run bench [-- ${NAMES.join('|')}]... [--quick]

Measures on this machine, which should have nothing else to do, and writes test/bench/results/<bench>.json with the
goals beside the numbers (a goal that is missed is said, not an error). All of them when none is named.

  engine    how fast Redis decides, how well and how evenly slots are used, beside peers; whether the vendor ever
            sees a call too many; draws engine.svg (4 to 6 minutes)
  gateway   what the bundled sidecar adds to a call; calls/s, memory, start; draws gateway.svg (2 to 6 minutes)
  --quick   engine only, with small sizes: to see that it runs; writes to a temporary folder
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
  const quick = args.includes('--quick');
  const names = args.filter((name) => name !== '--quick');
  const unknown = names.filter((name) => !Object.hasOwn(BENCHES, name));
  if (unknown.length > 0) {
    process.stderr.write(`bench: unknown argument ${unknown.join(' ')}; --help says what there is\n`);
    return 2;
  }
  if (quick && (names.length !== 1 || names[0] !== 'engine')) {
    process.stderr.write('bench: --quick goes with engine alone\n');
    return 2;
  }
  const wanted = names.length === 0 ? NAMES : (names as BenchName[]);
  for (const name of wanted) {
    const [load = 0] = loadavg();
    log(`${name}: ${cpus().length} processors, load average ${load.toFixed(2)}`);
    await BENCHES[name](log, { quick });
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
