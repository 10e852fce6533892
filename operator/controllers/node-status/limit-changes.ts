/**
 * When a node's limit on calls in flight last changed, learnt or by a spec. Seen from outside, so it is late by as much as
 * snapshots are old; status remembers it for the next leader.
 */
import type { NodeStatus } from '../../api/v1alpha1/status.ts';
import { secondTime } from '../../runtime/timestamps.ts';

interface Seen {
  /** Absent: it had none. */
  readonly limit: number | undefined;
  /** RFC 3339; null: it never changed, as far as anybody has seen. */
  readonly at: string | null;
}

export class LimitChanges {
  /** By uid: what may not stand in the status yet. */
  readonly #seen = new Map<string, Seen>();

  /** `limit`: null for none; undefined while it is not known. `written`: the object's status. */
  look(uid: string, limit: number | null | undefined, written: unknown, nowMs: number): string | null {
    const before = this.#seen.get(uid) ?? seenIn(written);
    if (limit === undefined) return before?.at ?? null;
    const now = limit ?? undefined;
    const isChange = before !== null && before.limit !== now;
    const seen = { limit: now, at: isChange ? secondTime(nowMs) : (before?.at ?? null) };
    this.#seen.set(uid, seen);
    return seen.at;
  }

  /** The object is gone. */
  forget(uid: string): void {
    this.#seen.delete(uid);
  }
}

/** Null: nobody has counted it yet. */
function seenIn(status: unknown): Seen | null {
  if (typeof status !== 'object' || status === null) return null;
  const { concurrency } = status as Partial<NodeStatus>;
  return concurrency === undefined ? null : { limit: concurrency.limit, at: concurrency.lastChange ?? null };
}
