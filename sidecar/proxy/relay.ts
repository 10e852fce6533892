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
  /** `isHeld`: all of it was kept back; `Relay.pass` gives it to the client. */
  | { readonly kind: 'complete'; readonly isHeld: boolean }
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
  /**
   * The response's head came; raw headers as the vendor sent them. `hold`: nothing reaches the client before all is here,
   * unless it is more than an error has to say.
   */
  onHead(status: number, headers: readonly string[]): 'pass' | 'hold';
  onChunk(chunk: Buffer): void;
  /** Whether all the client could want has passed, so that its leaving is no abort. */
  isWhole(): boolean;
  /** Told once. A response that was passed on is ended for the client after the returned promise, if there is one. */
  onEnd(end: RelayEnd): Promise<void> | void;
}

/** How long a vendor may take to end a response that has said all: its slot is held meanwhile. */
const ENDING_MS = 3000;
/** Errors are short; a longer body is passed on as it comes. */
const MAX_HELD_BYTES = 64 * 1024;
/** What Node lets into a status line. */
const REASON_PHRASE = /^[\t\x20-\x7e]*$/;

/** A response that the client has not seen. */
interface HeldBack {
  readonly status: number;
  readonly phrase: string;
  readonly headers: string[];
  readonly chunks: Buffer[];
  bytes: number;
}

export interface RelayOptions {
  readonly response: ServerResponse;
  readonly listener: RelayListener;
  readonly clock: Clock;
  /** Of ours, for the client, as a flat array. */
  readonly extraHeaders?: readonly string[];
}

/** A response that broke in the middle is cut, so that the client cannot take it for complete. */
export class Relay implements Dispatcher.DispatchHandler {
  readonly #options: RelayOptions;
  readonly #response: ServerResponse;
  readonly #listener: RelayListener;
  /** Aborts when the relay has ended. */
  readonly #over = new AbortController();
  #controller: Dispatcher.DispatchController | null = null;
  #hasHead = false;
  #ended = false;
  /** The client has left with all it wanted: the vendor only has to close. */
  #isDetached = false;
  #heldBack: HeldBack | null = null;
  readonly #onDrain = (): void => this.#controller?.resume();

  constructor(options: RelayOptions) {
    this.#options = options;
    this.#response = options.response;
    this.#listener = options.listener;
    options.response.on('drain', this.#onDrain);
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
    void this.#options.clock.sleep(ENDING_MS, this.#over.signal).then(
      () => this.abort(reason),
      () => undefined,
    );
  }

  /** Gives the client a complete response that was kept back. */
  pass(): void {
    if (this.#heldBack === null || this.#response.destroyed) return;
    this.#release(this.#heldBack);
    this.#response.end();
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
    const isHeld = this.#listener.onHead(status, raw) === 'hold';
    const phrase = statusMessage !== undefined && REASON_PHRASE.test(statusMessage) ? statusMessage : '';
    const headers = [...downstreamHeaders(raw), ...(this.#options.extraHeaders ?? [])];
    if (isHeld) this.#heldBack = { status, phrase, headers, chunks: [], bytes: 0 };
    else this.#writeHead(status, phrase, headers);
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#ended) return;
    this.#listener.onChunk(chunk);
    if (this.#heldBack !== null) this.#holdBack(this.#heldBack, chunk);
    else if (!this.#isDetached && !this.#response.write(chunk)) controller.pause();
  }

  onResponseEnd(): void {
    this.#finish({ kind: 'complete', isHeld: this.#heldBack !== null });
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    this.#finish({ kind: 'failed', error, ...this.#progress });
  }

  get #progress(): Progress {
    return { sent: this.#controller !== null, beforeHead: !this.#hasHead };
  }

  #writeHead(status: number, phrase: string, headers: string[]): void {
    this.#response.sendDate = false;
    this.#response.writeHead(status, phrase, headers);
    // Sent with the first bytes of the body when they are here already, alone when the vendor makes us wait for them.
    setImmediate(() => {
      if (!this.#ended && !this.#response.destroyed) this.#response.flushHeaders();
    });
  }

  #holdBack(heldBack: HeldBack, chunk: Buffer): void {
    // The chunk's memory is undici's and may be used again.
    heldBack.chunks.push(Buffer.from(chunk));
    heldBack.bytes += chunk.length;
    if (heldBack.bytes > MAX_HELD_BYTES) this.#release(heldBack);
  }

  #release({ status, phrase, headers, chunks }: HeldBack): void {
    this.#heldBack = null;
    this.#writeHead(status, phrase, headers);
    for (const chunk of chunks) this.#response.write(chunk);
  }

  #finish(end: RelayEnd): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#over.abort();
    this.#response.off('drain', this.#onDrain);
    const settled = this.#listener.onEnd(end);
    if (end.kind !== 'complete') {
      if (this.#heldBack !== null && !this.#response.destroyed) this.#release(this.#heldBack);
      if (this.#hasHead) this.#response.destroy();
    } else if (end.isHeld) {
      return;
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
