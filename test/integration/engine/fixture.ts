/** One Redis for a test file, and short words for what the rule tests do. */
import { afterAll, beforeAll, beforeEach } from 'vitest';
import { noticeChannel } from '#sidecar/engine/keys.ts';
import type { Notice } from '#sidecar/engine/port.ts';
import { parseNotice } from '#sidecar/engine/replies.ts';
import type { Grant, Settlement, UsageSnapshot, Verdict } from '#sidecar/engine/terms.ts';
import { openTestEngine, request, settlement, START_MS, TREE_KEY, type TestEngine } from '#test/support/engine.ts';
import { startRedis, type TestRedis } from '#test/support/redis.ts';

export interface Rules {
  /** Fresh for every test, on an empty Redis. */
  readonly engine: TestEngine;
  acquire(id: string, rest?: Parameters<typeof request>[1]): Promise<Verdict>;
  /** Fails the test unless granted. */
  grant(id: string, rest?: Parameters<typeof request>[1]): Promise<Grant>;
  settle(grant: Grant, rest?: Partial<Settlement>): Promise<unknown>;
  usage(node: string, limit: string): Promise<UsageSnapshot>;
  inFlight(node: string): Promise<number>;
  readonly treeKey: string;
  /** What is published to an owner from now on. */
  heardBy(owner: string): { readonly listening: Promise<unknown>; next(): Promise<Notice | null> };
  /** Differences between counters and their recount. */
  drifts(): Promise<readonly unknown[]>;
}

export function useEngine(): Rules {
  let server: TestRedis;
  let opened: TestEngine;
  let engine: TestEngine;
  beforeAll(async () => {
    server = await startRedis();
    opened = await openTestEngine(server.socketPath);
  });
  beforeEach(async () => {
    engine = opened.fresh();
    await engine.setUs(START_MS * 1000);
    await engine.wipe();
  });
  afterAll(async () => {
    opened.redis.disconnect();
    await server[Symbol.asyncDispose]();
  });
  const acquire: Rules['acquire'] = (id, rest) => engine.sidecar.acquire(request(id, rest));
  const nodeOf = async (name: string) => {
    const snapshot = await engine.sidecar.snapshot();
    const found = snapshot?.nodes.find((each) => each.name === name);
    if (!found) throw new Error(`no node ${name} in the snapshot`);
    return found;
  };
  return {
    get engine() {
      return engine;
    },
    acquire,
    grant: async (id, rest) => {
      const verdict = await acquire(id, rest);
      if (verdict.kind !== 'granted') throw new Error(`${id} was answered ${JSON.stringify(verdict)}`);
      return verdict;
    },
    settle: async (grant, rest) => {
      const [reply] = await engine.sidecar.settle([settlement(grant.id, grant.fence, rest)]);
      return reply;
    },
    usage: async (name, limit) => {
      const found = (await nodeOf(name)).usage.find((each) => each.limit === limit);
      if (!found) throw new Error(`no limit ${limit} on ${name}`);
      return found;
    },
    inFlight: async (name) => (await nodeOf(name)).inFlight,
    treeKey: TREE_KEY,
    heardBy: (owner) => {
      const listener = opened.redis.duplicate({ protocol: 3 });
      const first = Promise.withResolvers<string>();
      listener.on('smessage', (_channel: string, text: string) => first.resolve(text));
      return {
        listening: listener.ssubscribe(noticeChannel(TREE_KEY, owner)),
        next: async () => {
          const text = await first.promise;
          listener.disconnect();
          return parseNotice(text);
        },
      };
    },
    drifts: async () => (await engine.admin.audit(TREE_KEY)).drifts,
  };
}
