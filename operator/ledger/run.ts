/** A replay from the command line to what it found. */
import { readDocuments } from '../local/documents.ts';
import { readLocalFile, shippedCatalog } from '../local/files.ts';
import { createCalendar } from '../trees/calendar.ts';
import { objectId, treeKeyOf } from '../trees/names.ts';
import { withDeadline } from '../../sidecar/base/abort.ts';
import type { Clock } from '../../sidecar/base/clock.ts';
import { AppError } from '../../sidecar/base/errors.ts';
import { connectRedis, type RedisConnection } from '../../sidecar/engine/connect.ts';
import { historyOf } from '../../sidecar/engine/ledger/history.ts';
import { readLedger } from '../../sidecar/engine/ledger/read.ts';
import { Replay, type Difference, type ReplayCounts } from '../../sidecar/engine/ledger/replay.ts';
import type { LedgerEntry } from '../../sidecar/engine/ledger/terms.ts';
import { whatIf, type WhatIf } from '../../sidecar/engine/ledger/what-if.ts';
import type { TreeConfig } from '../../sidecar/engine/tree-terms.ts';
import type { ReplayOptions } from './arguments.ts';
import { changeOf, treeOfObjects } from './changes.ts';

export interface ReplayResult {
  readonly tree: string;
  readonly entries: number;
  readonly firstId: string;
  readonly lastId: string;
  readonly counts: ReplayCounts;
  /** At most 1,000 of them; `differenceCount` counts on. */
  readonly differences: readonly Difference[];
  readonly differenceCount: number;
  /** Null: not asked for. */
  readonly whatIf: WhatIf | null;
}

const CONNECT_MS = 5000;
const MAX_DIFFERENCES = 1000;

/** Fails with `invalid` when there is no such ledger or the other limits are wrong. */
export async function replayTree(options: ReplayOptions, clock: Clock, signal: AbortSignal): Promise<ReplayResult> {
  const other = await otherTree(options, clock);
  await using connection = await connect(options, clock, signal);
  const { from, tree } = options;
  const entries = (): AsyncIterable<LedgerEntry> => readLedger(connection.redis, treeKeyOf(tree), { from, signal });
  const result = await compare(entries(), objectId(tree));
  const isAsked = other !== null || options.limits.length > 0;
  return isAsked ? { ...result, whatIf: await suppose(entries(), other, options) } : result;
}

async function compare(entries: AsyncIterable<LedgerEntry>, tree: string): Promise<ReplayResult> {
  const replay = new Replay();
  const differences: Difference[] = [];
  let [count, differenceCount, firstId, lastId] = [0, 0, '', ''];
  for await (const entry of entries) {
    count += 1;
    if (count === 1) firstId = entry.id;
    lastId = entry.id;
    const difference = replay.take(entry);
    if (difference === null) continue;
    differenceCount += 1;
    if (differences.length < MAX_DIFFERENCES) differences.push(difference);
  }
  if (count === 0) throw new AppError('invalid', `Redis has no ledger of ${tree} from there on`);
  const found = { counts: replay.counts, differences, differenceCount };
  return { tree, entries: count, firstId, lastId, ...found, whatIf: null };
}

async function suppose(
  entries: AsyncIterable<LedgerEntry>,
  other: TreeConfig | null,
  { limits }: ReplayOptions,
): Promise<WhatIf> {
  const history = await historyOf(entries);
  if (history === null) throw new AppError('invalid', 'the ledger has no checkpoint yet from which its state is known');
  return whatIf(history, changeOf(other, limits));
}

async function otherTree({ whatIf: names, tree }: ReplayOptions, clock: Clock): Promise<TreeConfig | null> {
  if (names.length === 0) return null;
  const objects = readDocuments(await Promise.all(names.map(readLocalFile)));
  const input = { objects, shipped: shippedCatalog(), calendar: createCalendar(), nowMs: clock.nowMs() };
  return treeOfObjects(input, tree);
}

async function connect(options: ReplayOptions, clock: Clock, signal: AbortSignal): Promise<RedisConnection> {
  const { redisUrl: url, username = null, passwordFile, caFile } = options;
  const password = passwordFile === undefined ? null : (await readLocalFile(passwordFile)).text.trimEnd();
  const caPem = caFile === undefined ? null : (await readLocalFile(caFile)).text;
  let last: AppError | null = null;
  const onError = (error: AppError): void => {
    last = error;
  };
  const connection = connectRedis({ url, username, password, caPem }, { name: 'glmquota-replay', onError, clock });
  try {
    const limit = { ms: CONNECT_MS, what: 'connecting to Redis', signal };
    await withDeadline(clock, limit, (until) => connection.ready(until));
    return connection;
  } catch (error) {
    await connection[Symbol.asyncDispose]();
    throw (last as AppError | null) ?? error;
  }
}
