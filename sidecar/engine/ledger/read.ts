/** Reads a tree's ledger: from an entry on, or as one of a consumer group that may lag and says what it has done with. */
import type { Clock } from '../../base/clock.ts';
import { AppError } from '../../base/errors.ts';
import { guarded } from '../caller.ts';
import { functionKeys } from '../keys.ts';
import { decodeEntry, type RawEntry } from './entries.ts';
import type { LedgerEntry } from './terms.ts';
import type { TreeKey } from '../tree-terms.ts';
import type { RedisClient } from '../topology.ts';

/** The stream of a tree. */
export function ledgerKey(tree: TreeKey): string {
  const key = functionKeys(tree).at(-1);
  if (key === undefined) throw new AppError('internal', 'a tree without a ledger');
  return key;
}

const PAGE = 500;

/** Entries from `from` on ('-': the first there is) to the last there is when it is reached. */
export async function* readLedger(
  redis: RedisClient,
  tree: TreeKey,
  { from = '-', signal }: { readonly from?: string; readonly signal?: AbortSignal } = {},
): AsyncGenerator<LedgerEntry> {
  let next = from;
  for (;;) {
    const words = ['XRANGE', ledgerKey(tree), next, '+', 'COUNT', PAGE] as const;
    const page = (await guarded(redis.callBuffer(...words), signal)) as readonly RawEntry[];
    for (const entry of page) yield decodeEntry(entry);
    const last = page.at(-1)?.[0];
    if (last === undefined || page.length < PAGE) return;
    next = `(${last.toString()}`;
  }
}

export interface FollowOptions {
  /** Every member of it gets other entries; the group remembers what was delivered and what is done with. */
  readonly group: string;
  readonly consumer: string;
  readonly clock: Clock;
  /** Pause when there is nothing new. */
  readonly idleMs?: number;
}

export interface Delivered {
  readonly entry: LedgerEntry;
  /** Done with: else a consumer of that name gets it again when it begins anew. */
  done(): Promise<void>;
}

/**
 * What the group has not seen yet, from the first entry there is when the group is new; first what this consumer got
 * before and was not done with. Ends with the signal. Needs a user who may read streams in groups; a lagging group keeps
 * nothing back: entries that were trimmed before it read them are named by a `gap` entry.
 */
export async function* followLedger(
  redis: RedisClient,
  tree: TreeKey,
  { group, consumer, clock, idleMs = 1000 }: FollowOptions,
  signal: AbortSignal,
): AsyncGenerator<Delivered> {
  const key = ledgerKey(tree);
  await guarded(redis.call('XGROUP', 'CREATE', key, group, '0', 'MKSTREAM'), signal).catch(ignoreExisting);
  const ask = async (after: string): Promise<readonly RawEntry[]> => {
    const words = ['XREADGROUP', 'GROUP', group, consumer, 'COUNT', PAGE, 'STREAMS', key, after] as const;
    return entriesOf(await guarded(redis.callBuffer(...words), signal));
  };
  const delivered = (entry: RawEntry): Delivered => ({
    entry: decodeEntry(entry),
    done: async () => void (await guarded(redis.call('XACK', key, group, entry[0]), signal)),
  });
  let after = '0';
  while (!signal.aborted) {
    const page = await ask(after);
    // An entry that was trimmed since it was delivered has no fields any more.
    for (const entry of page) if (entry[1]) yield delivered(entry);
    if (after !== '>') after = page.at(-1)?.[0].toString() ?? '>';
    else if (page.length === 0) await clock.sleep(idleMs, signal).catch(() => undefined);
  }
}

function ignoreExisting(reason: unknown): void {
  if (!(reason instanceof AppError && reason.message.includes('BUSYGROUP'))) throw reason;
}

/** The only stream of a reply of XREADGROUP, in whichever form the protocol's version gives it. */
function entriesOf(reply: unknown): readonly RawEntry[] {
  if (reply === null) return [];
  const streams = reply instanceof Map ? [...reply.values()] : (reply as readonly (readonly unknown[])[]);
  const [only] = streams;
  if (Array.isArray(only) && only.length === 2 && !Array.isArray(only[0])) return only[1] as readonly RawEntry[];
  return (Buffer.isBuffer(only) ? streams[1] : only) as readonly RawEntry[];
}
