/** What this process knows of a tree in Redis from the answers it got. */
import type { Clock } from '../base/clock.ts';
import type { Moment, Sync } from './lease-state.ts';

export function momentOf(clock: Clock): Moment {
  return { monotonicMs: clock.monotonicMs(), wallMs: clock.nowMs() };
}

const USUAL_TTL_MS = 15_000;

export class TreeView {
  /** Null until a call of the current epoch told the server's time. */
  sync: Sync | null = null;
  /** Null before the first answer. */
  epoch: number | null = null;
  /** Lifetime that a beat gives a lease; a grant that has yet to be claimed may live shorter. */
  ttlMs = USUAL_TTL_MS;
  /** Owners that share the tree, by the last beat. */
  owners = 1;

  /** Remembers the latest reading of the server's clock, unless it belongs to a memory Redis has lost since. */
  learn(asked: Moment, reply: { readonly serverNowMs: number; readonly epoch: number }): void {
    if (this.epoch !== null && reply.epoch < this.epoch) return;
    if (this.sync?.epoch === reply.epoch && asked.monotonicMs < this.sync.askedAtMs) return;
    this.epoch = reply.epoch;
    const { serverNowMs, epoch } = reply;
    this.sync = { askedAtMs: asked.monotonicMs, askedWallMs: asked.wallMs, serverNowMs, epoch };
  }

  /** Redis counts anew: times of its old memory mean nothing any more. */
  moved(epoch: number): void {
    this.epoch = epoch;
    this.sync = null;
  }

  /** The earliest local moment at which the server's (logical) clock can have shown `serverMs`; null: not known. */
  notBeforeMs(serverMs: number, epoch: number): number | null {
    if (this.sync?.epoch !== epoch) return null;
    return this.sync.askedAtMs + (serverMs - this.sync.serverNowMs);
  }
}
