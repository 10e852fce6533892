/** Private redis-server processes for tests: started, paused, killed, restarted, with their files in a temporary folder. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { makeTestPki, type TestPki } from './redis-pki.ts';

export interface TestRedisOptions {
  /** Speak TLS only on the port, with a CA made for this server or the given one. Default: plain. */
  readonly tls?: boolean | TestPki;
  /** Keep an append-only file, fsynced always, so that `restart` after `kill` brings everything back. Default: memory only. */
  readonly durable?: boolean;
  /** ACL rules by user name, without the leading `user <name>`; e.g. `on >secret ~q:* +fcall`. */
  readonly users?: Readonly<Record<string, string>>;
  /** More lines of redis.conf. */
  readonly config?: readonly string[];
  /** Run as a Sentinel, which knows only its own commands and keeps no data. Default: a server. */
  readonly sentinel?: boolean;
}

export interface TestRedis {
  readonly port: number;
  /** `redis://127.0.0.1:<port>` or `rediss://…`. */
  readonly url: string;
  /** A Unix socket that is always plain and always the default user. */
  readonly socketPath: string;
  /** PEM of the CA; null without TLS. */
  readonly ca: string | null;
  readonly folder: string;
  readonly pid: number;
  /** Everything the server has logged. */
  log(): Promise<string>;
  /** SIGSTOP: connections stay, nothing is answered. */
  pause(): void;
  resume(): void;
  /** SIGKILL, and waits until it is gone. */
  kill(): Promise<void>;
  /** SIGTERM, and waits until it is gone. */
  stop(): Promise<void>;
  /** Starts it again on the same port, after `kill` or `stop`. */
  restart(): Promise<void>;
  /** Ends it and removes its folder. */
  [Symbol.asyncDispose](): Promise<void>;
}

const running = new Set<ChildProcess>();
// A crashed test run must not leave servers behind.
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

export async function startRedis(options: TestRedisOptions = {}): Promise<TestRedis> {
  const folder = await mkdtemp(join(tmpdir(), 'glmquota-redis-'));
  const pki = options.tls === true ? await makeTestPki() : options.tls || null;
  // Another process may take the port between its choice and its use.
  for (let attempt = 1; ; attempt++) {
    const port = await freePort();
    await writeConfig({ folder, port, pki, options });
    try {
      return serve({ folder, port, pki, options, child: await launch(folder, port, options) });
    } catch (error) {
      if (attempt < 5 && /Address already in use/.test(await readLog(folder))) continue;
      await rm(folder, { recursive: true, force: true });
      throw error;
    }
  }
}

interface Parts {
  readonly folder: string;
  readonly port: number;
  readonly pki: TestPki | null;
  readonly options: TestRedisOptions;
}

function serve({ folder, port, pki, options, child: first }: Parts & { readonly child: ChildProcess }): TestRedis {
  let child = first;
  const end = async (signal: NodeJS.Signals): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, 'exit');
    child.kill(signal);
    // A paused process notices a polite signal only after it runs again.
    child.kill('SIGCONT');
    await gone;
  };
  return {
    port,
    url: `${pki ? 'rediss' : 'redis'}://127.0.0.1:${port}`,
    socketPath: join(folder, 'redis.sock'),
    ca: pki?.ca ?? null,
    folder,
    get pid() {
      return child.pid ?? -1;
    },
    log: () => readLog(folder),
    pause: () => void child.kill('SIGSTOP'),
    resume: () => void child.kill('SIGCONT'),
    kill: () => end('SIGKILL'),
    stop: () => end('SIGTERM'),
    restart: async () => {
      child = await launch(folder, port, options);
    },
    [Symbol.asyncDispose]: async () => {
      await end('SIGKILL');
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function writeConfig({ folder, port, pki, options }: Parts): Promise<void> {
  const lines = [
    'bind 127.0.0.1',
    pki ? 'port 0' : `port ${port}`,
    'unixsocket redis.sock',
    'unixsocketperm 700',
    `dir ${folder}`,
    'logfile redis.log',
    ...(options.sentinel ? [] : dataLines(options)),
    ...Object.entries(options.users ?? {}).map(([name, rules]) => `user ${name} ${rules}`),
    ...(options.config ?? []),
  ];
  if (pki) {
    lines.push(`tls-port ${port}`, 'tls-cert-file server.pem', 'tls-key-file server.key', 'tls-ca-cert-file ca.pem');
    lines.push('tls-auth-clients no');
    await writeFile(join(folder, 'ca.pem'), pki.ca);
    await writeFile(join(folder, 'server.pem'), pki.cert);
    await writeFile(join(folder, 'server.key'), pki.key, { mode: 0o600 });
  }
  await writeFile(join(folder, 'redis.conf'), `${lines.join('\n')}\n`);
}

function dataLines({ durable }: TestRedisOptions): readonly string[] {
  return ['save ""', ...(durable ? ['appendonly yes', 'appendfsync always'] : ['appendonly no'])];
}

async function launch(folder: string, port: number, { sentinel }: TestRedisOptions): Promise<ChildProcess> {
  const args = ['redis.conf', ...(sentinel ? ['--sentinel'] : [])];
  const child = spawn('redis-server', args, { cwd: folder, stdio: 'ignore' });
  running.add(child);
  child.once('exit', () => running.delete(child));
  const failed = once(child, 'error').then(([error]) => {
    throw new Error(`cannot start redis-server: ${String(error)}`);
  });
  try {
    await Promise.race([ready(child, join(folder, 'redis.sock'), folder), failed]);
    // Thousands of clients may be there first.
    for (let attempt = 1; !(await answers({ port, host: '127.0.0.1' })); attempt++) {
      if (attempt === 10) throw new Error(`redis-server is not on port ${port}`);
    }
    return child;
  } catch (error) {
    // Nobody else knows of it.
    child.kill('SIGKILL');
    throw error;
  }
}

/** Resolves once PING is answered, if only with a demand for credentials: a server that still loads its data says so. */
async function ready(child: ChildProcess, path: string, folder: string): Promise<void> {
  for (const deadline = Date.now() + 30_000; Date.now() < deadline; await delay(5)) {
    if (child.exitCode !== null) throw new Error(`redis-server ended:\n${await readLog(folder)}`);
    if (await answers({ path }, /^(\+PONG|-NOAUTH)/)) return;
  }
  child.kill('SIGKILL');
  throw new Error(`redis-server did not get ready:\n${await readLog(folder)}`);
}

function answers(where: { path: string } | { port: number; host: string }, expected?: RegExp): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(where);
    const tell = (yes: boolean): void => {
      socket.destroy();
      resolve(yes);
    };
    socket.setTimeout(1000, () => tell(false));
    socket.once('error', () => tell(false));
    socket.once('connect', () => (expected === undefined ? tell(true) : socket.write('PING\r\n')));
    socket.once('data', (chunk) => tell(expected?.test(chunk.toString('latin1')) ?? true));
  });
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('no free port');
  return address.port;
}

const readLog = (folder: string): Promise<string> => readFile(join(folder, 'redis.log'), 'utf8').catch(() => '');
