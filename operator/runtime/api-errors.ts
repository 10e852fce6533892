/** Answers of the API server that are no success → AppError, once. */
import { AppError, type Code } from '../../sidecar/base/errors.ts';

const CODE_OF_STATUS: Readonly<Record<number, Code>> = {
  400: 'invalid',
  401: 'unauthenticated',
  403: 'forbidden',
  404: 'notFound',
  405: 'unsupported',
  406: 'unsupported',
  408: 'deadline',
  409: 'conflict',
  410: 'conflict',
  413: 'tooLarge',
  415: 'unsupported',
  422: 'invalid',
  429: 'exhausted',
  504: 'deadline',
};

export interface ApiFailure {
  readonly status: number;
  /** The server's reason word, such as `AlreadyExists`; empty when it gave none. */
  readonly reason: string;
  readonly message: string;
  /** When the server wants to be asked again, milliseconds from now. */
  readonly retryAfterMs?: number;
}

/** The failure as AppError; `fields` hold status, reason and retryAfterMs. 410 is a `conflict` told apart by `isExpired`. */
export function apiError(what: string, failure: ApiFailure): AppError {
  const code = CODE_OF_STATUS[failure.status] ?? (failure.status >= 500 ? 'unavailable' : 'internal');
  const fields = {
    status: failure.status,
    reason: failure.reason,
    ...(failure.retryAfterMs === undefined ? {} : { retryAfterMs: failure.retryAfterMs }),
  };
  return new AppError(code, `${what}: ${failure.message}`, { fields });
}

/** Reads a `Status` body (or whatever else was sent) into a failure. */
export function readFailure(status: number, body: string, retryAfter?: string): ApiFailure {
  const seconds = retryAfter === undefined ? Number.NaN : Number(retryAfter);
  const wait = Number.isFinite(seconds) && seconds >= 0 ? { retryAfterMs: seconds * 1000 } : {};
  const parsed = parseStatus(body);
  return {
    status,
    reason: parsed?.reason ?? '',
    message: parsed?.message ?? `status ${status} ${body.slice(0, 200)}`,
    ...wait,
  };
}

function parseStatus(body: string): { reason: string; message: string } | undefined {
  try {
    const value: unknown = JSON.parse(body);
    if (typeof value !== 'object' || value === null) return undefined;
    const reason = 'reason' in value && typeof value.reason === 'string' ? value.reason : '';
    const message = 'message' in value && typeof value.message === 'string' ? value.message : reason;
    return { reason, message };
  } catch {
    return undefined;
  }
}

/** The resource version or continue token is too old: only a fresh list helps. */
export function isExpired(reason: unknown): boolean {
  return reason instanceof AppError && reason.fields['status'] === 410;
}

/** The server refused because the object is there already (told apart from a lost update, also a 409). */
export function isAlreadyExists(reason: unknown): boolean {
  return reason instanceof AppError && reason.fields['reason'] === 'AlreadyExists';
}

/** How long the server asked to wait, milliseconds; undefined when it did not say. */
export function retryAfterMs(reason: unknown): number | undefined {
  if (!(reason instanceof AppError)) return undefined;
  const wait = reason.fields['retryAfterMs'];
  return typeof wait === 'number' ? wait : undefined;
}
