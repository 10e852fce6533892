/**
 * One request to the vendor and its response back to the client, unbuffered and with back-pressure both ways. Knows
 * nothing of leases: what passes is told to a `RelayListener`.
 */
import type { ServerResponse } from 'node:http';
import type { Dispatcher, Pool } from 'undici';
import type { Clock } from '../base/clock.ts';
import { downstreamHeaders } from './headers.ts';

export interface RelayRequest {
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly headers: string[];
  readonly body: Buffer | null;
}

/** How a relay ended. */
export type RelayEnd =
  | { readonly kind: 'complete' }
  /** The vendor broke off or stayed silent; before its head, the client has been sent nothing. */
  | ({ readonly kind: 'failed'; readonly error: Error } & Progress)
  /** Ended from our side. */
  | ({ readonly kind: 'aborted'; readonly reason: unknown } & Progress);

interface Progress {
  /** Whether any byte may have left for the vendor. */
  readonly sent: boolean;
  readonly beforeHead: boolean;
}

export interface RelayListener {
  /** The response's head came; raw headers as the vendor sent them. */
  onHead(status: number, headers: readonly string[]): void;
  onChunk(chunk: Buffer): void;
  /** Whether all the client could want has passed, so that its leaving is no abort. */
  isWhole(): boolean;
  /** Told once. A complete response is ended for the client after the returned promise, if there is one. */
  onEnd(end: RelayEnd): Promise<void> | void;
}

/** How long a vendor may take to end a response that has said all: its slot is held meanwhile. */
const ENDING_MS = 3000;
/** What Node lets into a status line. */
const REASON_PHRASE = /^[\t\x20-\x7e]*$/;

/** A response that broke in the middle is cut, so that the client cannot take it for complete. */
export class Relay implements Dispatcher.DispatchHandler {
  readonly #response: ServerResponse;
  readonly #listener: RelayListener;
  readonly #clock: Clock;
  /** Aborts when the relay has ended. */
  readonly #over = new AbortController();
  #controller: Dispatcher.DispatchController | null = null;
  #hasHead = false;
  #ended = false;
  /** The client has left with all it wanted: the vendor only has to close. */
  #isDetached = false;

  constructor(response: ServerResponse, listener: RelayListener, clock: Clock) {
    this.#response = response;
    this.#listener = listener;
    this.#clock = clock;
    response.on('drain', () => this.#controller?.resume());
  }

  start(pool: Pool, request: RelayRequest): void {
    pool.dispatch({ ...request }, this);
  }

  /**
   * The client went away. Official clients do so right after a stream's last frame; the vendor is then left to end its
   * response, because it counts the call in flight until it has; for 3 s at most.
   */
  leave(reason: unknown): void {
    if (this.#ended || this.#isDetached) return;
    if (!this.#listener.isWhole()) return this.abort(reason);
    this.#isDetached = true;
    this.#controller?.resume();
    void this.#clock.sleep(ENDING_MS, this.#over.signal).then(
      () => this.abort(reason),
      () => undefined,
    );
  }

  /** Ends the call from our side, synchronously: the vendor's connection is closed and the listener told. */
  abort(reason: unknown): void {
    if (this.#ended) return;
    this.#finish({ kind: 'aborted', reason, ...this.#progress });
    this.#controller?.abort(reason instanceof Error ? reason : new Error('aborted'));
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    if (this.#ended) controller.abort(new Error('aborted before it was sent'));
  }

  onResponseStart(
    controller: Dispatcher.DispatchController,
    status: number,
    _headers: unknown,
    statusMessage?: string,
  ): void {
    if (status < 200 || this.#ended) return;
    this.#hasHead = true;
    const raw = rawStrings(controller.rawHeaders);
    this.#listener.onHead(status, raw);
    this.#response.sendDate = false;
    const phrase = statusMessage !== undefined && REASON_PHRASE.test(statusMessage) ? statusMessage : '';
    this.#response.writeHead(status, phrase, downstreamHeaders(raw));
    // Sent with the first bytes of the body when they are here already, alone when the vendor makes us wait for them.
    setImmediate(() => {
      if (!this.#ended && !this.#response.destroyed) this.#response.flushHeaders();
    });
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#ended) return;
    this.#listener.onChunk(chunk);
    if (!this.#isDetached && !this.#response.write(chunk)) controller.pause();
  }

  onResponseEnd(): void {
    this.#finish({ kind: 'complete' });
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    this.#finish({ kind: 'failed', error, ...this.#progress });
  }

  get #progress(): Progress {
    return { sent: this.#controller !== null, beforeHead: !this.#hasHead };
  }

  #finish(end: RelayEnd): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#over.abort();
    const settled = this.#listener.onEnd(end);
    if (end.kind !== 'complete') {
      if (this.#hasHead) this.#response.destroy();
    } else if (settled === undefined) {
      this.#response.end();
    } else {
      void settled.then(() => this.#response.end());
    }
  }
}

function rawStrings(raw: Dispatcher.DispatchController['rawHeaders']): string[] {
  if (!Array.isArray(raw)) return [];
  return raw.map((part) => (typeof part === 'string' ? part : part.toString('latin1')));
}
