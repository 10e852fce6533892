/** The product's image as a folder, and sidecars started from it as its entry point does: same bundle, same Node, same flags. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import { GLMQUOTA_ENTRYPOINT } from '#test/cluster/images/contents.ts';
import { own, temporaryFolder } from './owned.ts';

const BUILD = resolve(import.meta.dirname, '../cluster/images/build.ts');
const READY_MS = 30_000;
const POLL_MS = 2;

export interface Image extends AsyncDisposable {
  readonly command: readonly string[];
}

export async function unpackImage(): Promise<Image> {
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await temporaryFolder('glmquota-bench-image-'));
  const args = [BUILD, 'glmquota', '--rootfs', folder.path];
  const child = own(spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'inherit'] }));
  const [code] = (await once(child, 'exit')) as [number | null];
  if (code !== 0) throw new Error(`the image could not be built (exit code ${code})`);
  const owned = stack.move();
  return {
    command: GLMQUOTA_ENTRYPOINT.map((part) => (part.startsWith('/') ? join(folder.path, part) : part)),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

export interface BenchSidecar extends AsyncDisposable {
  readonly origin: string;
  /** From starting the process to a ready answer. */
  readonly startMs: number;
  rssMb(): Promise<number>;
}

/** `nodeFlags` go behind those of the image, such as `--cpu-prof`. */
export async function startSidecar(
  image: Image,
  snapshotFile: string,
  nodeFlags: readonly string[] = [],
): Promise<BenchSidecar> {
  const [node = '', ...rest] = image.command;
  const started = performance.now();
  const env = {
    GLMQUOTA_SNAPSHOT_FILE: snapshotFile,
    GLMQUOTA_HTTP_PORT: '0',
    GLMQUOTA_GRPC_PORT: '0',
    GLMQUOTA_ADMIN_PORT: '0',
    GLMQUOTA_ADMIN_HOST: '127.0.0.1',
  };
  const child = spawn(node, [...nodeFlags, ...rest, 'sidecar'], { stdio: ['ignore', 'pipe', 'pipe'], env });
  own(child);
  const exited = once(child, 'exit');
  const complaints = text(child.stderr);
  const listening = await Promise.race([
    portsOf(child.stdout),
    exited.then(async () => {
      throw new Error(`the sidecar ended: ${await complaints}`);
    }),
  ]);
  await waitReady(listening.admin, started);
  return {
    origin: `http://127.0.0.1:${listening.http}`,
    startMs: performance.now() - started,
    rssMb: async () => {
      const status = await readFile(`/proc/${child.pid}/status`, 'utf8');
      return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]) / 1024;
    },
    [Symbol.asyncDispose]: async () => {
      child.kill('SIGTERM');
      const given = setTimeout(() => child.kill('SIGKILL'), 5000);
      await exited;
      clearTimeout(given);
    },
  };
}

interface Ports {
  readonly http: number;
  readonly admin: number;
}

async function portsOf(stdout: Readable): Promise<Ports> {
  const { promise, resolve: tell } = Promise.withResolvers<Ports>();
  // Read on to the end: a full pipe would stop the sidecar.
  createInterface({ input: stdout }).on('line', (line) => {
    if (line.includes('"sidecar.listening"')) tell(JSON.parse(line) as Ports);
  });
  return promise;
}

async function waitReady(adminPort: number, started: number): Promise<void> {
  while (performance.now() < started + READY_MS) {
    const answer = await fetch(`http://127.0.0.1:${adminPort}/readyz`);
    await answer.body?.cancel();
    if (answer.ok) return;
    await delay(POLL_MS);
  }
  throw new Error('the sidecar did not get ready');
}
