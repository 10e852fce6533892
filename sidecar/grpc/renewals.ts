/** One Renew stream: keeps what is named on it, and tells when any of it is gone. */
import type { RenewRequest } from '../../proto/gen/glmquota/v1/lease_pb.ts';
import { orAbort } from '../base/abort.ts';
import type { BookedLease, LeaseBook } from './lease-book.ts';
import { parseId } from './requests.ts';

export interface Renewal {
  readonly id: string;
  readonly alive: boolean;
}

/** A caller that does not read its answers is not read either. */
const MAX_UNREAD = 100;

/** Ends when the requests do, and fails with the signal's reason; what was kept then has one more lifetime. */
export async function* renewals(
  book: LeaseBook,
  requests: AsyncIterable<RenewRequest>,
  signal: AbortSignal,
): AsyncGenerator<Renewal> {
  using stream = new Renewals(book);
  const reading = stream.read(requests, signal);
  reading.catch(() => undefined);
  yield* stream.answers(reading);
}

class Renewals implements Disposable {
  readonly #book: LeaseBook;
  readonly #kept = new Map<string, BookedLease & Disposable>();
  readonly #queue: Renewal[] = [];
  #news = Promise.withResolvers<void>();
  #room = Promise.withResolvers<void>();
  #over = false;

  constructor(book: LeaseBook) {
    this.#book = book;
  }

  async read(requests: AsyncIterable<RenewRequest>, signal: AbortSignal): Promise<void> {
    try {
      for await (const request of requests) {
        const id = parseId(request.id);
        this.#tell({ id, alive: await this.#keep(id, signal) });
        if (this.#queue.length >= MAX_UNREAD) await orAbort(this.#room.promise, signal);
      }
    } finally {
      this.#over = true;
      this.#news.resolve();
    }
  }

  async *answers(reading: Promise<void>): AsyncGenerator<Renewal> {
    while (!this.#over || this.#queue.length > 0) {
      const next = this.#queue.shift();
      if (next) {
        this.#room.resolve();
        this.#room = Promise.withResolvers();
        yield next;
      } else {
        await this.#news.promise;
        this.#news = Promise.withResolvers();
      }
    }
    await reading;
  }

  [Symbol.dispose](): void {
    for (const lease of this.#kept.values()) lease[Symbol.dispose]();
    this.#kept.clear();
  }

  async #keep(id: string, signal: AbortSignal): Promise<boolean> {
    const before = this.#kept.get(id);
    if (before) return this.#book.find(id) !== undefined;
    const kept = await this.#book.keep(id, signal);
    if (!kept) return false;
    this.#kept.set(id, kept);
    kept.gone.addEventListener('abort', () => this.#tell({ id, alive: false }), { once: true });
    return !kept.gone.aborted;
  }

  #tell(renewal: Renewal): void {
    this.#queue.push(renewal);
    this.#news.resolve();
  }
}
