/** One request and its response, with waits that end when the client goes away. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { TLSSocket } from 'node:tls';

export class Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** Monotonic milliseconds when the headers had come. */
  readonly arrivedMs = performance.now();
  isClosed = false;
  /** The whole response went out. */
  isComplete = false;
  /** Called once, when the response has ended or the socket has closed. */
  onClose: (() => void) | undefined;
  readonly #isSecure: boolean;
  #wake: (() => void) | undefined;

  constructor(request: IncomingMessage, response: ServerResponse) {
    this.request = request;
    this.response = response;
    this.#isSecure = request.socket instanceof TLSSocket;
    response.on('close', () => this.#close(response.writableFinished));
  }

  /** A header's first value. */
  header(name: string): string | undefined {
    const value = this.request.headers[name];
    return Array.isArray(value) ? value[0] : value;
  }

  /** The body as text; undefined when the client left before its end. */
  async readBody(): Promise<string | undefined> {
    const chunks: Buffer[] = [];
    return await new Promise((resolve) => {
      this.request.on('data', (chunk: Buffer) => chunks.push(chunk));
      this.request.on('end', () => {
        this.#wake = undefined;
        const [only] = chunks;
        resolve(chunks.length === 1 && only ? only.toString() : Buffer.concat(chunks).toString());
      });
      this.#wake = () => resolve(undefined);
    });
  }

  send(status: number, headers: Record<string, string>, body: string | Buffer): void {
    if (this.isClosed) return;
    this.response.writeHead(status, { ...headers, 'content-length': Buffer.byteLength(body) });
    this.end(body);
  }

  /**
   * Ends the response with `data`. Over TLS Node tells of the end only a turn of its loop after the peer may have all of
   * it, and the peer's next call would seem to overlap: there the call ends when all but the last byte is out.
   */
  end(data: string | Buffer = ''): void {
    if (!this.#isSecure) {
      this.response.end(data);
      return;
    }
    const whole = Buffer.from(data);
    const last = Math.max(0, whole.length - 1);
    const finish = (): void => {
      if (this.isClosed) return;
      this.#close(true);
      this.response.end(whole.subarray(last));
    };
    if (last === 0) finish();
    else this.response.write(whole.subarray(0, last), finish);
  }

  sendJson(status: number, body: unknown): void {
    this.send(status, { 'content-type': 'application/json; charset=UTF-8' }, JSON.stringify(body));
  }

  /** False when the client went away first. */
  async pause(ms: number): Promise<boolean> {
    if (ms <= 0 || this.isClosed) return !this.isClosed;
    return await new Promise((resolve) => {
      const timer = setTimeout(() => this.#wake?.(), ms);
      this.#wake = () => {
        clearTimeout(timer);
        this.#wake = undefined;
        resolve(!this.isClosed);
      };
    });
  }

  /** Waits for `gate`; false when the client went away first. */
  async pauseUntil(gate: Promise<void>): Promise<boolean> {
    if (this.isClosed) return false;
    const gone = new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
    await Promise.race([gate, gone]);
    this.#wake = undefined;
    return !this.isClosed;
  }

  /** Writes and waits until the bytes are with the kernel, so that a later reset does not overtake them. */
  async write(data: string | Uint8Array): Promise<boolean> {
    if (this.isClosed) return false;
    const written = new Promise<void>((resolve) => {
      this.response.write(data, () => resolve());
    });
    return await this.pauseUntil(written);
  }

  #close(isComplete: boolean): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.isComplete = isComplete;
    this.#wake?.();
    this.onClose?.();
  }

  /** TCP reset where the transport allows it, else a plain close in the middle. */
  reset(): void {
    const socket = this.request.socket;
    if (socket instanceof TLSSocket) socket.destroy();
    else socket.resetAndDestroy();
  }
}
