/** The vendor's simulator as a process of its own: nothing that happens to us may disturb the oracle. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { own, temporaryFolder } from '#test/bench/owned.ts';
import { SimulatorControl } from '#test/support/glm-simulator/control.ts';
import type { SimulatorConfig } from '#test/support/glm-simulator/terms.ts';

const PROGRAM = resolve(import.meta.dirname, '../../support/glm-simulator/main.ts');

export interface VendorProcess extends AsyncDisposable {
  /** Origin. */
  readonly url: string;
  readonly control: SimulatorControl;
}

export async function startVendor(config: SimulatorConfig): Promise<VendorProcess> {
  await using stack = new AsyncDisposableStack();
  const { path: folder } = stack.use(await temporaryFolder('glmquota-proof-vendor-'));
  const file = join(folder, 'simulator.json');
  await writeFile(file, JSON.stringify(config));
  const child = own(spawn(process.execPath, [PROGRAM, '--config', file], { stdio: ['ignore', 'pipe', 'inherit'] }));
  const exited = once(child, 'exit');
  stack.defer(async () => {
    child.kill('SIGKILL');
    await exited;
  });
  const failed = exited.then(() => {
    throw new Error('the simulator ended');
  });
  failed.catch(() => undefined);
  const [line] = (await Promise.race([once(createInterface({ input: child.stdout }), 'line'), failed])) as [string];
  const { url, controlUrl } = JSON.parse(line) as { url: string; controlUrl: string };
  const owned = stack.move();
  return { url, control: new SimulatorControl(controlUrl), [Symbol.asyncDispose]: () => owned.disposeAsync() };
}
