/** The operator's way to Redis: credentials from a Secret, one connection, the engine over it. */
import { withDeadline } from '../sidecar/base/abort.ts';
import type { Clock } from '../sidecar/base/clock.ts';
import { AppError } from '../sidecar/base/errors.ts';
import type { Log } from '../sidecar/base/log.ts';
import { treeUser } from '../sidecar/engine/acl.ts';
import { createAdminEngine } from '../sidecar/engine/client.ts';
import { connectRedis, type RedisSettings } from '../sidecar/engine/connect.ts';
import type { AdminEngine } from '../sidecar/engine/port.ts';
import { type RedisServers, serversOf } from '../sidecar/engine/servers.ts';
import type { TreeSnapshot } from '../sidecar/engine/terms.ts';
import type { TreeConfig, TreeKey } from '../sidecar/engine/tree-terms.ts';
import { configHash } from '../sidecar/engine/tree.ts';
import { SECRETS, secretData } from './certificates/authority.ts';
import { type RedisCredentials, redisCredentials } from './certificates/redis-secret.ts';
import type { KubeClient } from './runtime/client.ts';
import { type Rotation, treePassword } from './tree-users.ts';

const RETRY_MS = 1000;
const PING_MS = 1000;

export interface RedisLink extends AsyncDisposable {
  readonly engine: AdminEngine;
  readonly servers: RedisServers;
  /** Resolves when Redis answers; fails with `unavailable` or `deadline`. */
  ping(signal: AbortSignal): Promise<void>;
}

/** Connects in the background as the operator's user; calls fail with `unavailable` while there is no connection. */
export function linkRedis(url: string, credentials: RedisCredentials, parts: { clock: Clock; log: Log }): RedisLink {
  const { clock, log } = parts;
  const settings = { url, ...credentials.operator, ...commonSettings(credentials) };
  let lastCause = '';
  const onError = (error: AppError): void => {
    // A Redis that is away says the same with every attempt.
    if (error.message !== lastCause) log.warn('redis.away', { cause: error.message });
    lastCause = error.message;
  };
  const connection = connectRedis(settings, { name: 'glmquota-operator', onError });
  const servers = serversOf(connection.redis);
  return {
    engine: createAdminEngine({ redis: connection.redis }),
    servers,
    ping: async (signal) => {
      const limit = { ms: PING_MS, what: 'asking Redis', signal };
      await withDeadline(clock, limit, async () => connection.redis.ping());
    },
    [Symbol.asyncDispose]: async () => {
      servers[Symbol.dispose]();
      await connection[Symbol.asyncDispose]();
    },
  };
}

/** How the sidecars of each tree reach Redis; the same object for the same tree and rotation of its user. */
export function sidecarSettings(
  url: string,
  credentials: RedisCredentials,
): (tree: TreeKey, rotation?: Rotation) => RedisSettings {
  const { sidecars } = credentials;
  const made = new Map<TreeKey, { readonly rotation: Rotation; readonly settings: RedisSettings }>();
  return (tree, rotation = null) => {
    const known = made.get(tree);
    if (known?.rotation === rotation) return known.settings;
    const user =
      sidecars.kind === 'shared'
        ? { username: sidecars.username, password: sidecars.password }
        : { username: treeUser(tree), password: treePassword(sidecars.key, tree, rotation) };
    const settings = { url, ...user, ...commonSettings(credentials) };
    made.set(tree, { rotation, settings });
    return settings;
  };
}

function commonSettings({ caPem, sentinel }: RedisCredentials): Pick<RedisSettings, 'caPem' | 'sentinel'> {
  return { caPem: caPem || null, ...(sentinel && { sentinel }) };
}

/** The engine of a link that may come later: until then it fails with `unavailable`. */
export class LateEngine implements Pick<AdminEngine, 'snapshot' | 'config' | 'hashOf'> {
  #link: RedisLink | null = null;

  attach(link: RedisLink): void {
    this.#link = link;
  }

  hashOf(tree: TreeConfig): string {
    return configHash(tree);
  }

  async snapshot(key: TreeKey, signal?: AbortSignal): Promise<TreeSnapshot | null> {
    return this.#engine().snapshot(key, signal);
  }

  async config(key: TreeKey, signal?: AbortSignal): Promise<TreeConfig | null> {
    return this.#engine().config(key, signal);
  }

  #engine(): AdminEngine {
    if (this.#link === null) throw new AppError('unavailable', 'the credentials of Redis are not there yet');
    return this.#link.engine;
  }
}

export interface CredentialsPlace {
  readonly client: KubeClient;
  readonly namespace: string;
  readonly name: string;
  readonly clock: Clock;
  readonly log: Log;
}

/** The credentials in the Secret, as soon as it is there and whole. Fails only with the signal's reason. */
export async function awaitRedisCredentials(place: CredentialsPlace, signal: AbortSignal): Promise<RedisCredentials> {
  const { client, namespace, name, clock, log } = place;
  let lastCause = '';
  for (;;) {
    signal.throwIfAborted();
    try {
      const secret = await client.get(SECRETS, { namespace, name }, { signal });
      const credentials = secret === null ? null : redisCredentials(secretData(secret));
      if (credentials !== null) return credentials;
      throw new AppError('notFound', `Secret ${namespace}/${name} is not there, or lacks users and passwords`);
    } catch (reason) {
      signal.throwIfAborted();
      const cause = AppError.from(reason).message;
      if (cause !== lastCause) log.warn('redis.credentialsMissing', { cause });
      lastCause = cause;
    }
    await clock.sleep(RETRY_MS, signal);
  }
}
