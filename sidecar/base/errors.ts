/**
 * The one error class. Denials are values (`Verdict`), never errors: an AppError says "this call cannot tell".
 * A code is mapped exactly three times, each time by an exhaustive table: gRPC status, HTTP, reconcile outcome.
 */
export const CODES = [
  'invalid', // the caller's input is wrong; retrying the same cannot help
  'unauthenticated',
  'forbidden',
  'notFound',
  'conflict', // lost a race or was fenced out
  'exhausted', // our own bounded resource is full
  'tooLarge',
  'unavailable', // a store or server is away
  'deadline',
  'cancelled',
  'unsupported', // the other side is too old or too new
  'internal', // a bug of ours, or an unknown throwable
] as const;
export type Code = (typeof CODES)[number];

export interface AppErrorOptions {
  /** Whether the same call may succeed later. */
  readonly transient?: boolean;
  /** Facts for logs and replies; never secrets. */
  readonly fields?: Readonly<Record<string, string | number | boolean>>;
  readonly cause?: unknown;
}

const TRANSIENT: ReadonlySet<Code> = new Set<Code>(['unavailable', 'deadline', 'conflict', 'exhausted']);

export class AppError extends Error {
  override readonly name = 'AppError';
  readonly code: Code;
  readonly transient: boolean;
  readonly fields: Readonly<Record<string, string | number | boolean>>;

  constructor(code: Code, message: string, options: AppErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.transient = options.transient ?? TRANSIENT.has(code);
    this.fields = options.fields ?? {};
  }

  /** The only place where an unknown throwable becomes an AppError; call it once, at the edge. */
  static from(reason: unknown): AppError {
    if (reason instanceof AppError) return reason;
    if (isAbort(reason)) return new AppError('cancelled', 'the caller went away', { cause: reason });
    const message = reason instanceof Error ? reason.message : String(reason);
    return new AppError('internal', message, { cause: reason });
  }
}

/** True for the errors that an aborted AbortSignal throws (not for its timeouts). */
export function isAbort(reason: unknown): boolean {
  return reason instanceof Error && (reason.name === 'AbortError' || ('code' in reason && reason.code === 'ABORT_ERR'));
}
