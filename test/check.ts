/** `npm run check`: everything that can be told in under a minute without a cluster. Stops nothing early: all problems are shown. */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

interface Step {
  readonly name: string;
  readonly command: readonly string[];
}

const fresh = mkdtempSync(join(tmpdir(), 'glmquota-gen-'));

const STEPS: readonly (readonly Step[])[] = [
  [
    { name: 'format', command: ['oxfmt', '--check', '.'] },
    { name: 'lint', command: ['oxlint', '--deny-warnings'] },
  ],
  [
    { name: 'types', command: ['tsc', '--noEmit'] },
    { name: 'unused', command: ['knip', '--no-progress'] },
  ],
  [
    { name: 'proto lint', command: ['buf', 'lint', 'proto'] },
    {
      name: 'generated code is current',
      command: [
        'sh',
        '-c',
        `buf generate proto --template proto/buf.gen.yaml -o "${fresh}" && diff -r "${fresh}/proto/gen" proto/gen`,
      ],
    },
  ],
  [
    {
      name: 'unit and arch tests',
      command: ['vitest', 'run', '--project', 'unit', '--project', 'arch', '--reporter', 'dot'],
    },
  ],
];

async function run(step: Step): Promise<boolean> {
  const started = performance.now();
  const [program = '', ...args] = step.command;
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()));
  const code = await new Promise<number>((resolve) => {
    child.on('close', (status) => resolve(status ?? 1));
    child.on('error', (error) => {
      output += error.message;
      resolve(1);
    });
  });
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  console.log(`${code === 0 ? 'ok    ' : 'FAILED'} ${step.name} (${seconds} s)`);
  if (code !== 0) console.log(output.trimEnd());
  return code === 0;
}

const steps = process.argv.includes('--without-tests') ? STEPS.slice(0, -1) : STEPS;
let failed = 0;
for (const group of steps) {
  const results = await Promise.all(group.map((step) => run(step)));
  failed += results.filter((passed) => !passed).length;
}
rmSync(fresh, { recursive: true, force: true });
if (failed > 0) console.log(`check: ${failed} step(s) failed; \`npm run format\` mends the format`);
process.exitCode = failed > 0 ? 1 : 0;
