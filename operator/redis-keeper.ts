/**
 * Keeps on every Redis server what servers do not pass on by themselves: the users of trees, which are never replicated, and
 * the function library, which a cluster does not spread (rule F2).
 */
import type { Clock } from '../sidecar/base/clock.ts';
import { AppError } from '../sidecar/base/errors.ts';
import type { Log } from '../sidecar/base/log.ts';
import { TREE_USER_PREFIX, treeUser } from '../sidecar/engine/acl.ts';
import { ensureLibrary } from '../sidecar/engine/library.ts';
import { storeError } from '../sidecar/engine/redis-errors.ts';
import type { RedisServer, RedisServers } from '../sidecar/engine/servers.ts';
import type { TreeKey } from '../sidecar/engine/tree-terms.ts';
import { setTreeUser } from './tree-users.ts';

/** A user or a library that somebody took away is back within this. */
const LOOK_MS = 10_000;
/** A tree that is gone for this long is no slip of a cache. */
const ABSENT_MS = 60_000;

export interface RedisKeeperOptions {
  readonly servers: RedisServers;
  /** What the passwords of trees derive from; null: sidecars share a user that somebody else made. */
  readonly usersKey: string | null;
  /** The trees there are; null: not known yet. */
  readonly trees: () => ReadonlySet<TreeKey> | null;
  readonly clock: Clock;
  readonly log: Log;
}

export class RedisKeeper {
  readonly #options: RedisKeeperOptions;
  /** Server → user → how the server described it right after it was written. */
  readonly #written = new Map<string, Map<string, string>>();
  readonly #absentSinceMs = new Map<string, number>();
  readonly #causes = new Map<string, string>();
  #wake = Promise.withResolvers<void>();

  constructor(options: RedisKeeperOptions) {
    this.#options = options;
  }

  /** Looks at once: a tree or a server is new. */
  touch(): void {
    this.#wake.resolve();
  }

  /** Runs until the signal aborts; never fails. */
  async run(signal: AbortSignal): Promise<void> {
    using _changes = this.#options.servers.subscribe(() => this.touch());
    while (!signal.aborted) {
      this.#wake = Promise.withResolvers<void>();
      await this.#round(signal);
      const rested = new AbortController();
      const until = AbortSignal.any([signal, rested.signal]);
      await Promise.race([this.#wake.promise, this.#options.clock.sleep(LOOK_MS, until)]).catch(() => undefined);
      rested.abort();
    }
  }

  async #round(signal: AbortSignal): Promise<void> {
    try {
      const servers = await this.#options.servers.list(signal);
      await Promise.all(servers.map((server) => this.#keep(server)));
      this.#causes.delete('');
      const addresses = new Set(servers.map(({ address }) => address));
      for (const address of this.#written.keys()) if (!addresses.has(address)) this.#written.delete(address);
    } catch (reason) {
      if (!signal.aborted) this.#complain('', reason);
    }
  }

  async #keep(server: RedisServer): Promise<void> {
    try {
      if (server.isMaster) await ensureLibrary(server);
      await this.#keepUsers(server);
      this.#causes.delete(server.address);
    } catch (reason) {
      this.#complain(server.address, reason);
    }
  }

  async #keepUsers(server: RedisServer): Promise<void> {
    const { usersKey, log } = this.#options;
    const trees = this.#options.trees();
    if (usersKey === null || trees === null) return;
    const written = this.#written.get(server.address) ?? new Map<string, string>();
    this.#written.set(server.address, written);
    const found = await usersOf(server);
    const wrong = Array.from(trees).filter((tree) => {
      const line = found.get(treeUser(tree));
      return line === undefined || line !== written.get(treeUser(tree));
    });
    for (const tree of wrong) await setTreeUser(server, tree, usersKey);
    if (wrong.length > 0) {
      const after = await usersOf(server);
      for (const tree of wrong) written.set(treeUser(tree), after.get(treeUser(tree)) ?? '');
      log.info('redis.usersWritten', { server: server.address, users: wrong.length });
    }
    await this.#sweep(server, found.keys(), trees);
  }

  async #sweep(server: RedisServer, users: Iterable<string>, trees: ReadonlySet<TreeKey>): Promise<void> {
    const nowMs = this.#options.clock.monotonicMs();
    for (const user of users) {
      if (trees.has(user.slice(TREE_USER_PREFIX.length))) {
        this.#absentSinceMs.delete(user);
        continue;
      }
      const sinceMs = this.#absentSinceMs.get(user) ?? nowMs;
      this.#absentSinceMs.set(user, sinceMs);
      if (nowMs - sinceMs >= ABSENT_MS) await server.call('ACL', 'DELUSER', user);
    }
  }

  /** A server that is away says the same with every look. */
  #complain(address: string, reason: unknown): void {
    const { message } = reason instanceof AppError ? reason : storeError(reason);
    if (this.#causes.get(address) === message) return;
    this.#causes.set(address, message);
    this.#options.log.warn('redis.notKept', { server: address, cause: message });
  }
}

/** The users of trees, and each as the server describes it. */
async function usersOf(server: RedisServer): Promise<ReadonlyMap<string, string>> {
  const lines = (await server.call('ACL', 'LIST')) as readonly string[];
  return new Map(
    lines.flatMap((line) => {
      const [, name = ''] = line.split(' ', 2);
      return name.startsWith(TREE_USER_PREFIX) ? [[name, line]] : [];
    }),
  );
}
