import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { renderSnapshotFile } from '#sidecar/control/encode.ts';
import { ENGINE_VERSION } from '#sidecar/engine/library.ts';
import type { SidecarSnapshot } from '#sidecar/control/terms.ts';

export const MAIN = join(import.meta.dirname, '../../../sidecar/main.ts');
const READY_MS = 30_000;

/** A sidecar as a process of its own, configured by a snapshot file. */
export interface RunningSidecar extends AsyncDisposable {
  readonly http: string;
  readonly httpPort: number;
  readonly grpcPort: number;
  readonly admin: string;
  readonly child: ChildProcess;
  /** Everything it logged. */
  readonly lines: readonly string[];
  /** Waits until it has ended; gives its exit code. */
  ended(): Promise<number | null>;
  metrics(): Promise<string>;
}

/** `snapshot` null: from an operator that does not answer. */
export async function startSidecar(
  snapshot: SidecarSnapshot | null,
  environment: Readonly<Record<string, string>> = {},
): Promise<RunningSidecar> {
  const folder = await mkdtemp(join(tmpdir(), 'glmquota-sidecar-'));
  const source = snapshot === null ? await noOperator(folder) : await snapshotFile(folder, snapshot);
  const env = {
    PATH: process.env['PATH'] ?? '',
    ...source,
    GLMQUOTA_HTTP_PORT: '0',
    GLMQUOTA_GRPC_PORT: '0',
    GLMQUOTA_ADMIN_PORT: '0',
    GLMQUOTA_ADMIN_HOST: '127.0.0.1',
    ...environment,
  };
  const child = spawn(process.execPath, [MAIN], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  const exited = once(child, 'exit').then(([code]) => code as number | null);
  const lines: string[] = [];
  const ports = Promise.withResolvers<{ http: number; grpc: number; admin: number }>();
  child.stderr.on('data', (chunk: Buffer) => lines.push(chunk.toString()));
  createInterface({ input: child.stdout }).on('line', (line) => {
    lines.push(line);
    if (line.includes('"sidecar.listening"'))
      ports.resolve(JSON.parse(line) as { http: number; grpc: number; admin: number });
  });
  const timer = setTimeout(() => ports.reject(new Error('the sidecar did not listen in time')), READY_MS);
  void exited.then((code) => ports.reject(new Error(`the sidecar ended with ${code}:\n${lines.join('\n')}`)));
  const { http, grpc, admin } = await ports.promise;
  clearTimeout(timer);
  const sidecar = {
    http: `http://127.0.0.1:${http}`,
    httpPort: http,
    grpcPort: grpc,
    admin: `http://127.0.0.1:${admin}`,
    child,
    lines,
    ended: () => exited,
    metrics: async () => (await fetch(`http://127.0.0.1:${admin}/metrics`)).text(),
    async [Symbol.asyncDispose]() {
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
      await exited;
      await rm(folder, { recursive: true, force: true });
    },
  };
  await waitReady(sidecar.admin);
  return sidecar;
}

async function snapshotFile(folder: string, snapshot: SidecarSnapshot): Promise<Record<string, string>> {
  const path = join(folder, 'snapshot.json');
  const text = renderSnapshotFile(snapshot, { engineVersion: ENGINE_VERSION, minSidecarVersion: '0.0.0' });
  await writeFile(path, text, { mode: 0o600 });
  return { GLMQUOTA_SNAPSHOT_FILE: path };
}

async function noOperator(folder: string): Promise<Record<string, string>> {
  const path = join(folder, 'token');
  await writeFile(path, 'token');
  return { GLMQUOTA_CONTROL_ADDRESS: '127.0.0.1:1', GLMQUOTA_TOKEN_FILE: path };
}

async function waitReady(admin: string): Promise<void> {
  const giveUpAt = Date.now() + READY_MS;
  while ((await fetch(`${admin}/readyz`)).status !== 200) {
    if (Date.now() > giveUpAt) throw new Error('the sidecar did not get ready');
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
