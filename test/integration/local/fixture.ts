/** Local mode as users start it: a process of its own, read by what it prints. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

const PROGRAM = resolve(import.meta.dirname, '../../../operator/local/main.ts');
const DEADLINE_MS = 45_000;

export const KEY = 'key-id.key-secret';

export interface FileParts {
  /** Origin of the vendor. */
  readonly origin: string;
  /** More fields of the account's and the quota's spec, in YAML flow style without braces. */
  readonly account?: string;
  readonly quota?: string;
}

/** An account and one quota under it. */
export function quotaFile({ origin, account = 'concurrency: { max: 4 }', quota = 'limits: []' }: FileParts): string {
  return `
apiVersion: v1
kind: Secret
metadata: { name: glm-key, namespace: glm }
type: glmquota.io/credential
stringData: { apiKey: ${KEY}, origin: "${origin}" }
---
apiVersion: glmquota.io/v1alpha1
kind: GLMAccount
metadata: { name: main, namespace: glm }
spec: { billing: CodingPlan, region: Custom, credentialSecretRef: { name: glm-key }, ${account} }
---
apiVersion: glmquota.io/v1alpha1
kind: GLMQuota
metadata: { name: team, namespace: glm }
spec: { accountRef: { name: main }, ${quota} }
`;
}

/** A started `npm run local`. */
export class Local implements AsyncDisposable {
  readonly process: ChildProcess;
  readonly #folder: string;
  #out = '';
  #err = '';

  private constructor(child: ChildProcess, folder: string) {
    this.process = child;
    this.#folder = folder;
    child.stdout?.on('data', (chunk: Buffer) => (this.#out += chunk.toString()));
    child.stderr?.on('data', (chunk: Buffer) => (this.#err += chunk.toString()));
  }

  static async launch(yaml: string, args: readonly string[] = []): Promise<Local> {
    const folder = await mkdtemp(join(tmpdir(), 'glmquota-test-'));
    const file = join(folder, 'quota.yaml');
    await writeFile(file, yaml);
    const child = spawn(process.execPath, [PROGRAM, '-f', file, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      // Other tests may start at the same time and want the usual ports as well.
      env: { ...process.env, TMPDIR: folder, GLMQUOTA_HTTP_PORT: '0', GLMQUOTA_GRPC_PORT: '0' },
    });
    return new Local(child, folder);
  }

  /** Launched and ready. */
  static async start(yaml: string, args: readonly string[] = []): Promise<Local> {
    const local = await Local.launch(yaml, args);
    try {
      await eventually(() => {
        if (local.process.exitCode !== null) throw new Error(`local mode ended: ${local.error}`);
        return local.error.includes('Ready.');
      }, 'local mode being ready');
      return local;
    } catch (error) {
      await local[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Where it keeps its private files. */
  get folder(): string {
    return this.#folder;
  }

  get output(): string {
    return this.#out;
  }

  get error(): string {
    return this.#err;
  }

  /** A variable it tells to export. */
  variable(name: string): string {
    const value = new RegExp(`^export ${name}=(.+)$`, 'm').exec(this.#out)?.[1];
    if (value === undefined) throw new Error(`${name} is not exported: ${this.#out}`);
    return value;
  }

  get redisUrl(): string {
    const url = /--redis (redis:\S+)/.exec(this.#err)?.[1];
    if (url === undefined) throw new Error(`no Redis was started: ${this.#err}`);
    return url;
  }

  /** Its exit code, or the signal that ended it. */
  async exit(): Promise<number | string | null> {
    if (this.process.exitCode === null && this.process.signalCode === null) await once(this.process, 'exit');
    return this.process.exitCode ?? this.process.signalCode;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.process.kill('SIGTERM');
    await this.exit();
    await rm(this.#folder, { recursive: true, force: true });
  }
}

/** Waits until `holds`, with a deadline. */
export async function eventually(holds: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const deadline = Date.now() + DEADLINE_MS;
  while (!(await holds())) {
    if (Date.now() > deadline) throw new Error(`waited ${DEADLINE_MS} ms in vain for ${what}`);
    await delay(20);
  }
}
