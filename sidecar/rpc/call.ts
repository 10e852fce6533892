/** One call as the server sees it: who asks, and until when it is worth working on. */
import type { Deadline, Metadata } from '@grpc/grpc-js';
import type { Clock } from '../base/clock.ts';
import { AppError } from '../base/errors.ts';
import type { CallContext } from './handlers.ts';

/** What the four call types of grpc-js have in common. */
export interface ServerCall {
  readonly metadata: Metadata;
  getPeer(): string;
  getDeadline(): Deadline;
  on(event: 'cancelled', listener: () => void): unknown;
}

export interface LiveCall {
  readonly context: CallContext;
  /** Ends the call from our side. */
  abort(reason: AppError): void;
  /** To be called when the handler has ended; frees the deadline's timer. */
  end(): void;
}

/** Opens the context of a call. The deadline is watched here too: grpc-js reports it late to a peer that does not read. */
export function openCall(call: ServerCall, clock: Clock): LiveCall {
  const over = new AbortController();
  const finished = new AbortController();
  const deadlineMs = Number(call.getDeadline());
  const tooLate = (): AppError => new AppError('deadline', 'the deadline of the call has passed');
  call.on('cancelled', () => {
    over.abort(clock.nowMs() >= deadlineMs ? tooLate() : new AppError('cancelled', 'the caller went away'));
  });
  if (Number.isFinite(deadlineMs)) {
    clock.sleep(Math.max(0, deadlineMs - clock.nowMs()), finished.signal).then(
      () => over.abort(tooLate()),
      () => undefined,
    );
  }
  return {
    context: { signal: over.signal, bearer: bearerOf(call.metadata), peerAddress: addressOf(call.getPeer()) },
    abort: (reason) => over.abort(reason),
    end: () => finished.abort(),
  };
}

/** The token of exactly one well-formed `authorization: Bearer <token>` entry; else null. */
export function bearerOf(metadata: Metadata): string | null {
  const entries = metadata.get('authorization');
  const match = entries.length === 1 ? /^bearer ([\x21-\x7e]+)$/i.exec(String(entries[0])) : null;
  return match?.[1] ?? null;
}

/** The IP address in `address:port` as grpc-js prints it; an IPv4 address mapped into IPv6 is given as IPv4. */
export function addressOf(peer: string): string | null {
  const colon = peer.lastIndexOf(':');
  if (colon < 0) return null;
  const address = peer.slice(0, colon).replace(/^\[(.*)\]$/, '$1');
  return address.replace(/^::ffff:(?=\d+\.\d+\.\d+\.\d+$)/i, '');
}
