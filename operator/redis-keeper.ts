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
import { type Rotation, setTreeUser } from './tree-users.ts';

/** A user or a library that somebody took away is back within this. */
const LOOK_MS = 10_000;
/** A tree that is gone for this long is no slip of a cache. */
const ABSENT_MS = 60_000;
/** For this long after a rotation the old password serves as well: edge has told the sidecars the new one by then. */
const BOTH_MS = 10_000;

export interface RedisKeeperOptions {
  readonly servers: RedisServers;
  /** What the passwords of trees derive from; null: sidecars share a user that somebody else made. */
  readonly usersKey: string | null;
  /** The trees there are, each with the rotation of its user; null: not known yet. */
  readonly trees: () => ReadonlyMap<TreeKey, Rotation> | null;
  readonly clock: Clock;
  readonly log: Log;
}

interface Written {
  /** How the server described the user right after it was written. */
  readonly line: string;
  /** Rotations whose passwords it has. */
  readonly rotations: string;
}

interface Rotated {
  readonly rotation: Rotation;
  readonly before: Rotation;
  readonly atMs: number;
}

export class RedisKeeper {
  readonly #options: RedisKeeperOptions;
  /** Server → user → what was written. */
  readonly #written = new Map<string, Map<string, Written>>();
  /** Trees whose rotation is known, with the one before. */
  readonly #rotated = new Map<TreeKey, Rotated>();
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
    const written = this.#written.get(server.address) ?? new Map<string, Written>();
    this.#written.set(server.address, written);
    const found = await usersOf(server);
    const wanted = new Map(Array.from(trees, ([tree, rotation]) => [tree, this.#rotationsOf(tree, rotation)]));
    const wrong = Array.from(wanted).filter(([tree, rotations]) => {
      const last = written.get(treeUser(tree));
      const line = found.get(treeUser(tree));
      return line === undefined || line !== last?.line || JSON.stringify(rotations) !== last.rotations;
    });
    for (const [tree, rotations] of wrong) await setTreeUser(server, tree, usersKey, rotations);
    if (wrong.length > 0) {
      const after = await usersOf(server);
      for (const [tree, rotations] of wrong) {
        const line = after.get(treeUser(tree)) ?? '';
        // Also by what was written last: it may be that only the sending away failed then.
        const before = `${found.get(treeUser(tree)) ?? ''} ${written.get(treeUser(tree))?.line ?? ''}`;
        await cutOff(server, treeUser(tree), before, line);
        written.set(treeUser(tree), { line, rotations: JSON.stringify(rotations) });
      }
      log.info('redis.usersWritten', { server: server.address, users: wrong.length });
    }
    await this.#sweep(server, found.keys(), trees);
  }

  /** Those whose passwords serve now. */
  #rotationsOf(tree: TreeKey, rotation: Rotation): readonly Rotation[] {
    const nowMs = this.#options.clock.monotonicMs();
    const known = this.#rotated.get(tree) ?? { rotation, before: rotation, atMs: nowMs };
    const rotated = known.rotation === rotation ? known : { rotation, before: known.rotation, atMs: nowMs };
    this.#rotated.set(tree, rotated);
    const isOver = rotated.before === rotation || nowMs - rotated.atMs >= BOTH_MS;
    return isOver ? [rotation] : [rotation, rotated.before];
  }

  async #sweep(server: RedisServer, users: Iterable<string>, trees: ReadonlyMap<TreeKey, Rotation>): Promise<void> {
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

/** Whoever logged in with a password that serves no more would stay; those with the new one come back at once. */
async function cutOff(server: RedisServer, user: string, before: string, after: string): Promise<void> {
  const passwords = (line: string): Set<string> =>
    new Set(line.split(' ').filter((word) => word.startsWith('#') || word === 'nopass'));
  if (passwords(before).difference(passwords(after)).size > 0) await server.call('CLIENT', 'KILL', 'USER', user);
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
