/** One stream per pod: the newest wins. */
import { AppError } from '../../sidecar/base/errors.ts';

export interface PodStream extends Disposable {
  /** Ends the stream with this reason. */
  close(reason: AppError): void;
  readonly signal: AbortSignal;
}

export class PodStreams {
  readonly #open = new Map<string, AbortController>();

  get size(): number {
    return this.#open.size;
  }

  /** Ends the pod's earlier stream, if any. The stream ends with the signal as well. */
  open(uid: string, signal: AbortSignal): PodStream {
    this.#open.get(uid)?.abort(new AppError('conflict', 'a newer stream of this pod took over'));
    const control = new AbortController();
    this.#open.set(uid, control);
    return {
      signal: AbortSignal.any([signal, control.signal]),
      close: (reason) => control.abort(reason),
      [Symbol.dispose]: () => {
        if (this.#open.get(uid) === control) this.#open.delete(uid);
      },
    };
  }
}
