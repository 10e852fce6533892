/** Answers of our own to the client. */
import type { ServerResponse } from 'node:http';
import { AppError, type Code } from '../base/errors.ts';
import { refuseError, type Refusal } from '../glm/refusal.ts';
import type { Surface } from '../glm/terms.ts';
import type { CallLabel } from '../leases/metrics.ts';
import type { RelayEnd } from './relay.ts';

/** `close`: the connection ends with this answer. Does nothing when the client has gone or has been answered. */
export function reply(response: ServerResponse, refusal: Refusal, connection: 'keep' | 'close' = 'keep'): void {
  if (response.destroyed || response.headersSent) return;
  const { status, headers, body } = refusal;
  response.writeHead(status, connection === 'close' ? { ...headers, connection: 'close' } : headers);
  response.end(body);
}

const LABEL_OF: Readonly<Record<Code, CallLabel>> = {
  invalid: 'invalid',
  unauthenticated: 'forbidden',
  forbidden: 'forbidden',
  notFound: 'notFound',
  conflict: 'failed',
  exhausted: 'denied',
  tooLarge: 'tooLarge',
  unavailable: 'unavailable',
  deadline: 'failed',
  cancelled: 'clientGone',
  unsupported: 'failed',
  internal: 'failed',
};

export function labelOf(error: AppError): CallLabel {
  return LABEL_OF[error.code];
}

/** Undici's names for a vendor that said nothing for too long. */
const SILENCE: ReadonlySet<unknown> = new Set(['UND_ERR_HEADERS_TIMEOUT', 'UND_ERR_BODY_TIMEOUT']);

/** The vendor said nothing for as long as it may. */
export function isSilence(error: Error): boolean {
  return 'code' in error && SILENCE.has(error.code);
}

/** What the client is told when a relay ended before the vendor's head; null: nothing, it has gone itself. */
export function refuseRelayEnd(surface: Surface, end: Exclude<RelayEnd, { kind: 'complete' }>): Refusal | null {
  if (!end.beforeHead) return null;
  if (end.kind === 'aborted') return end.reason instanceof AppError ? refuseError(surface, end.reason) : null;
  if (isSilence(end.error)) return refuseError(surface, new AppError('deadline', 'the vendor did not answer in time'));
  const message = end.sent ? 'the vendor closed the connection without an answer' : 'the vendor cannot be reached';
  return { ...refuseError(surface, new AppError('unavailable', message)), status: 502 };
}
