/**
 * What clients are told when a call is not made, in the shape their SDK expects of the surface. Official SDKs retry
 * 429 and 5xx by themselves: short waits tell them when, long ones tell them not to.
 */
import type { AppError, Code } from '../base/errors.ts';
import type { DenyReason } from '../engine/terms.ts';
import type { Denial } from '../leases/terms.ts';
import type { Destination } from './paths.ts';
import type { Surface } from './terms.ts';

export interface Refusal {
  readonly status: number;
  /** Lower-case names; `content-type` and `content-length` included. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** A wait longer than this is not worth a client's sleep. */
const LONGEST_SHORT_WAIT_S = 60;
/** Where nobody can say when a slot frees: soon enough for an agent, too late for a storm. */
const UNKNOWN_WAIT_S = 2;

const STATUS_OF: Readonly<Record<Code, number>> = {
  invalid: 400,
  unauthenticated: 401,
  forbidden: 403,
  notFound: 404,
  conflict: 409,
  exhausted: 429,
  tooLarge: 413,
  unavailable: 503,
  deadline: 504,
  cancelled: 499,
  unsupported: 426,
  internal: 500,
};

/** A call that does not fit: 429 with the node, the limit and, where it is known, the time to come back. */
export function refuseDenial(surface: Surface, denial: Denial, nowMs: number): Refusal {
  const { node, limit, retryAtMs } = denial;
  const headers: Record<string, string> = { 'x-glmquota-denied-by': headerText(`${node}/${limit}`) };
  if (retryAtMs !== null) headers['x-glmquota-retry-at'] = new Date(retryAtMs).toISOString();
  const waitS = waitSeconds(denial, nowMs);
  if (waitS !== null && waitS <= LONGEST_SHORT_WAIT_S) headers['retry-after'] = waitS.toString();
  else {
    headers['x-should-retry'] = 'false';
    // Claude Code retries 429s for ever unless it is told that a plan's window is used up.
    if (surface === 'Anthropic') headers['anthropic-ratelimit-unified-status'] = 'rejected';
  }
  return reply(surface, { status: 429, code: CODE_OF[denial.reason], message: describe(denial) }, headers);
}

/** The store or the operator is away, or nothing was configured yet: 503, soon worth another try. */
export function refuseUnavailable(surface: Surface, message: string): Refusal {
  return reply(surface, { status: 503, code: 'glmquota_unavailable', message }, { 'retry-after': '1' });
}

/** A path that is not forwarded: 403 naming the right one for another billing's, else 404. */
export function refuseDestination(destination: Extract<Destination, { kind: 'wrongBilling' | 'unknown' }>): Refusal {
  const { surface, message } = destination;
  if (destination.kind === 'unknown') return reply(surface, { status: 404, code: 'glmquota_unknown_path', message });
  const headers = { 'x-glmquota-denied-by': 'billing', 'x-should-retry': 'false' };
  return reply(surface, { status: 403, code: 'glmquota_wrong_billing', message }, headers);
}

/** Any other failure of ours. Messages of internal errors stay in the log. */
export function refuseError(surface: Surface, error: AppError): Refusal {
  const message = error.code === 'internal' ? 'internal error of the glmquota sidecar' : error.message;
  const headers: Record<string, string> = error.transient ? { 'retry-after': '1' } : { 'x-should-retry': 'false' };
  return reply(surface, { status: STATUS_OF[error.code], code: `glmquota_${error.code}`, message }, headers);
}

const CODE_OF: Readonly<Record<DenyReason, string>> = {
  Concurrency: 'glmquota_concurrency',
  PerAgent: 'glmquota_concurrency',
  Rate: 'glmquota_rate',
  Window: 'glmquota_window',
  Stopped: 'glmquota_stopped',
};

/** Null: it may be for ever. */
function waitSeconds(denial: Denial, nowMs: number): number | null {
  const { reason, retryAtMs } = denial;
  if (retryAtMs !== null) return Math.max(1, Math.ceil((retryAtMs - nowMs) / 1000));
  if (reason === 'Window') return isReserved(denial) ? UNKNOWN_WAIT_S : null;
  return reason === 'Stopped' ? null : UNKNOWN_WAIT_S;
}

/**
 * Whether calls in flight hold the room of a window: the first of them to end may give some back. What was used up has a
 * known end, and a call that does not even fit into an empty window finds nothing used.
 */
function isReserved({ retryAtMs, used, amount }: Denial): boolean {
  return retryAtMs === null && used > 0 && amount > 0;
}

function describe(denial: Denial): string {
  const { reason, node, limit, used, amount, retryAtMs } = denial;
  const until = retryAtMs === null ? '' : `; it may fit again at ${new Date(retryAtMs).toISOString()}`;
  switch (reason) {
    case 'Window':
      if (isReserved(denial))
        return `glmquota: calls in flight hold the room of limit ${limit} of ${node} (${used} of ${amount} taken)`;
      return `glmquota: limit ${limit} of ${node} is used up (${used} of ${amount})${until}`;
    case 'Rate':
      return `glmquota: ${node} makes calls as fast as its rate allows${until}`;
    case 'Stopped':
      return `glmquota: ${node} was stopped by its owner${until}`;
    case 'Concurrency':
      return `glmquota: ${node} has ${used} of ${amount} calls in flight${until}`;
    case 'PerAgent':
      return `glmquota: this agent has ${used} of ${amount} calls in flight${until}`;
  }
}

interface Message {
  readonly status: number;
  readonly code: string;
  readonly message: string;
}

function reply(surface: Surface, message: Message, headers: Readonly<Record<string, string>> = {}): Refusal {
  const body = JSON.stringify(surface === 'Anthropic' ? anthropicBody(message) : openAiBody(message));
  return {
    status: message.status,
    headers: {
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(body).toString(),
      ...headers,
    },
    body,
  };
}

/** Chat and Responses share one shape; the vendor itself gives only code and message. */
function openAiBody({ status, code, message }: Message): object {
  return { error: { message, type: OPENAI_TYPE[status] ?? 'server_error', param: null, code } };
}

function anthropicBody({ status, message }: Message): object {
  return { type: 'error', error: { type: ANTHROPIC_TYPE[status] ?? 'api_error', message } };
}

const OPENAI_TYPE: Readonly<Record<number, string>> = {
  400: 'invalid_request_error',
  401: 'authentication_error',
  403: 'permission_error',
  404: 'invalid_request_error',
  413: 'invalid_request_error',
  429: 'rate_limit_error',
};

const ANTHROPIC_TYPE: Readonly<Record<number, string>> = {
  400: 'invalid_request_error',
  401: 'authentication_error',
  403: 'permission_error',
  404: 'not_found_error',
  413: 'request_too_large',
  429: 'rate_limit_error',
  503: 'overloaded_error',
  504: 'timeout_error',
};

/** Names come from the cluster and are plain; a header must not break even if one is not. */
function headerText(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, '?').slice(0, 512);
}
