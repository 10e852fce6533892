/** Sidecars as the image runs them: the bundle, a process each, configured by a snapshot file. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { inject } from 'vitest';
import { own, type OwnFolder, temporaryFolder } from '#test/bench/owned.ts';
import { renderSnapshotFile } from '#sidecar/control/encode.ts';
import type { SidecarSnapshot } from '#sidecar/control/terms.ts';
import { ENGINE_VERSION } from '#sidecar/engine/library.ts';

const READY_MS = 60_000;
const POLL_MS = 10;

export interface SidecarOptions {
  readonly snapshot: SidecarSnapshot;
  /** Names the pod in Redis: a restarted one has the same. */
  readonly podUid: string;
  readonly env?: Readonly<Record<string, string>>;
}

export class Sidecar implements AsyncDisposable {
  readonly podUid: string;
  /** Everything it logged. */
  readonly lines: string[] = [];
  readonly #child: ChildProcess;
  readonly #exited: Promise<unknown>;
  readonly #folder: OwnFolder;
  #http = 0;
  #admin = 0;

  private constructor(child: ChildProcess, folder: OwnFolder, podUid: string) {
    this.podUid = podUid;
    this.#child = child;
    this.#folder = folder;
    this.#exited = once(child, 'exit');
  }

  /** Started and ready. */
  static async start({ snapshot, podUid, env = {} }: SidecarOptions): Promise<Sidecar> {
    const folder = await temporaryFolder('glmquota-proof-sidecar-');
    const file = join(folder.path, 'snapshot.json');
    const demands = { engineVersion: ENGINE_VERSION, minSidecarVersion: '0.0.0' };
    await writeFile(file, renderSnapshotFile(snapshot, demands), { mode: 0o600 });
    const child = spawn(process.execPath, ['--enable-source-maps', inject('sidecarProgram')], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        GLMQUOTA_SNAPSHOT_FILE: file,
        GLMQUOTA_POD_UID: podUid,
        GLMQUOTA_HTTP_PORT: '0',
        GLMQUOTA_GRPC_PORT: '0',
        GLMQUOTA_ADMIN_PORT: '0',
        GLMQUOTA_ADMIN_HOST: '127.0.0.1',
        ...env,
      },
    });
    const sidecar = new Sidecar(own(child), folder, podUid);
    try {
      await sidecar.#listen();
      return sidecar;
    } catch (error) {
      await sidecar[Symbol.asyncDispose]();
      throw error;
    }
  }

  get origin(): string {
    return `http://127.0.0.1:${this.#http}`;
  }

  get isAlive(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** SIGSTOP: connections stay, nothing is answered. */
  pause(): void {
    this.#child.kill('SIGSTOP');
  }

  resume(): void {
    this.#child.kill('SIGCONT');
  }

  /** SIGKILL, and waits until it is gone. */
  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#exited;
  }

  /** SIGTERM, and waits until it has ended by itself. */
  async stop(): Promise<void> {
    this.#child.kill('SIGTERM');
    await this.#exited;
  }

  /** Resident. */
  async memoryBytes(): Promise<number> {
    const status = await readFile(`/proc/${this.#child.pid}/status`, 'utf8');
    return 1024 * Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]);
  }

  /** Its metrics as text. */
  async metrics(): Promise<string> {
    return (await fetch(`http://127.0.0.1:${this.#admin}/metrics`)).text();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.isAlive) await this.kill();
    await this.#folder[Symbol.asyncDispose]();
  }

  async #listen(): Promise<void> {
    const ports = Promise.withResolvers<{ http: number; admin: number }>();
    this.#child.stderr?.on('data', (chunk: Buffer) => this.lines.push(chunk.toString()));
    // Read on to the end: a full pipe would stop the sidecar.
    createInterface({ input: this.#child.stdout! }).on('line', (line) => {
      this.lines.push(line);
      if (line.includes('"sidecar.listening"')) ports.resolve(JSON.parse(line) as { http: number; admin: number });
    });
    void this.#exited.then(() => ports.reject(new Error(`the sidecar ended:\n${this.lines.join('\n')}`)));
    ({ http: this.#http, admin: this.#admin } = await ports.promise);
    for (const giveUpAt = performance.now() + READY_MS; performance.now() < giveUpAt; await delay(POLL_MS)) {
      const answer = await fetch(`http://127.0.0.1:${this.#admin}/readyz`);
      await answer.body?.cancel();
      if (answer.ok) return;
    }
    throw new Error(`the sidecar did not get ready:\n${this.lines.join('\n')}`);
  }
}
