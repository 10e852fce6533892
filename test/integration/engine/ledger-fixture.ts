/** A tree with a ledger to look into. */
import { afterAll, beforeAll, beforeEach } from 'vitest';
import { readLedger } from '#sidecar/engine/ledger/read.ts';
import { Replay, type Difference } from '#sidecar/engine/ledger/replay.ts';
import type { CallEntry, LedgerCall, LedgerEntry } from '#sidecar/engine/ledger/terms.ts';
import type { LibraryVariant } from '#sidecar/engine/library.ts';
import { INJECTED, openTestEngine, START_MS, TREE_KEY, type TestEngine } from '#test/support/engine.ts';
import { startRedis, type TestRedis } from '#test/support/redis.ts';

export interface Ledger {
  /** Fresh for every test, on an empty Redis. */
  readonly engine: TestEngine;
  entries(): Promise<readonly LedgerEntry[]>;
  /** Those of one kind. */
  all<K extends LedgerEntry['kind']>(kind: K): Promise<readonly Extract<LedgerEntry, { kind: K }>[]>;
  /** Operations of the entries of calls, in their order. */
  operations(): Promise<readonly LedgerCall['op'][]>;
  replay(): Promise<{ readonly replay: Replay; readonly differences: readonly Difference[] }>;
}

/** `constants`: numbers of the engine that this test wants smaller. */
export function useLedger(constants: LibraryVariant['constants'] = {}): Ledger {
  let server: TestRedis;
  let opened: TestEngine;
  let engine: TestEngine;
  beforeAll(async () => {
    server = await startRedis();
    opened = await openTestEngine(server.socketPath, { variant: { ...INJECTED, constants } });
  });
  beforeEach(async () => {
    engine = opened.fresh();
    await engine.redis.config('SET', 'maxmemory', '0');
    await engine.setUs(START_MS * 1000);
    await engine.wipe();
  });
  afterAll(async () => {
    opened.redis.disconnect();
    await server[Symbol.asyncDispose]();
  });
  const entries: Ledger['entries'] = async () => {
    const found: LedgerEntry[] = [];
    for await (const entry of readLedger(engine.redis, TREE_KEY)) found.push(entry);
    return found;
  };
  const all = async <K extends LedgerEntry['kind']>(kind: K) =>
    (await entries()).filter((entry): entry is Extract<LedgerEntry, { kind: K }> => entry.kind === kind);
  return {
    get engine() {
      return engine;
    },
    entries,
    all,
    operations: async () => (await all('call')).map(({ call }: CallEntry) => call.op),
    replay: async () => {
      const replay = new Replay();
      const differences = (await entries()).flatMap((entry) => replay.take(entry) ?? []);
      return { replay, differences };
    },
  };
}
