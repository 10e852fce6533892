/** What several Redis servers of one topology share: options, certificates, users, and the end of them all. */
import { createHash } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { makeTestPki, type TestPki } from './redis-pki.ts';
import { startRedis, type TestRedis } from './redis.ts';

export interface TopologyOptions {
  /** TLS between all of them, and to clients. */
  readonly tls?: boolean;
  /** Certificates name localhost, not its address. */
  readonly hostsOnly?: boolean;
  /** Only `OPERATOR` may log in; default: everybody may do everything. */
  readonly acl?: boolean;
  /** More lines of every server's redis.conf. */
  readonly config?: readonly string[];
}

export interface User {
  readonly username: string;
  readonly password: string;
}

export const OPERATOR: User = { username: 'operator', password: 'the-operator-of-the-topology' };

/** A user as a line of redis.conf. */
export function userLine({ username, password }: User, rules: string): string {
  return `user ${username} on #${createHash('sha256').update(password).digest('hex')} ${rules}`;
}

/** Polls until `check` holds: a topology settles by itself and tells nobody when. */
export async function eventually(check: () => Promise<boolean>, what: string): Promise<void> {
  for (const deadline = Date.now() + 30_000; Date.now() < deadline; await delay(20)) {
    if (await check().catch(() => false)) return;
  }
  throw new Error(`gave up waiting until ${what}`);
}

/** Collects processes and connections as they come up. */
export class Stage implements AsyncDisposable {
  readonly #stack = new AsyncDisposableStack();
  readonly options: TopologyOptions;
  readonly pki: TestPki | null;
  readonly servers: TestRedis[] = [];

  constructor(options: TopologyOptions, pki: TestPki | null) {
    this.options = options;
    this.pki = pki;
  }

  /** A data server. */
  async server(config: readonly string[] = []): Promise<TestRedis> {
    const { acl, config: shared = [] } = this.options;
    const { username, password } = OPERATOR;
    const users = ['user default off', userLine(OPERATOR, '~* &* +@all')];
    const replication = [`masteruser ${username}`, `masterauth ${password}`];
    const lines = [
      ...(this.pki ? ['tls-replication yes', 'tls-cluster yes'] : []),
      ...(acl ? [...users, ...replication] : []),
      // A replica that comes is served at once.
      'repl-diskless-sync-delay 0',
      ...shared,
      ...config,
    ];
    const server = await startRedis({ config: lines, ...(this.pki ? { tls: this.pki } : {}) });
    this.servers.push(this.use(server));
    return server;
  }

  async sentinel(config: readonly string[]): Promise<TestRedis> {
    const lines = [...(this.pki ? ['tls-replication yes'] : []), ...config];
    return this.use(await startRedis({ sentinel: true, config: lines, ...(this.pki ? { tls: this.pki } : {}) }));
  }

  /** The Unix socket of a server, as its operator. */
  admin(server: TestRedis, user: User = OPERATOR): Redis {
    const redis = new Redis({ path: server.socketPath, ...(this.options.acl ? user : {}) });
    // Servers are killed here.
    redis.on('error', () => undefined);
    this.#stack.defer(() => redis.disconnect());
    return redis;
  }

  use<T extends AsyncDisposable>(resource: T): T {
    return this.#stack.use(resource);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

/** Builds on a stage; what came up before a failure is ended. */
export async function onStage<T>(options: TopologyOptions, build: (stage: Stage) => Promise<T>): Promise<T> {
  const stage = new Stage(options, options.tls ? await makeTestPki(options) : null);
  try {
    return await build(stage);
  } catch (error) {
    await stage[Symbol.asyncDispose]();
    throw error;
  }
}
