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

/**
 * A call that does not fit: 429 with the node, the limit and, where it is known, the time to come back. 503 where not a
 * limit is the reason, 403 where there is nothing to come back to.
 */
export function refuseDenial(surface: Surface, denial: Denial, nowMs: number): Refusal {
  const { node, limit, retryAtMs, reason } = denial;
  const { status, code } = MANNERS[reason];
  const headers: Record<string, string> = { 'x-glmquota-denied-by': headerText(`${node}/${limit}`) };
  if (retryAtMs !== null) headers['x-glmquota-retry-at'] = new Date(retryAtMs).toISOString();
  const waitS = waitSeconds(denial, nowMs);
  if (waitS !== null && waitS <= LONGEST_SHORT_WAIT_S) headers['retry-after'] = waitS.toString();
  else {
    headers['x-should-retry'] = 'false';
    // Claude Code retries 429s for ever unless it is told that a plan's window is used up.
    if (surface === 'Anthropic' && status === 429) headers['anthropic-ratelimit-unified-status'] = 'rejected';
  }
  return reply(surface, { status, code, message: describe(denial) }, headers);
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

interface Manner {
  readonly status: number;
  readonly code: string;
  /** Where no time is known: soon enough to ask again, or nothing to wait for. */
  readonly unknown: 'soon' | 'never';
}

const MANNERS: Readonly<Record<DenyReason, Manner>> = {
  Concurrency: { status: 429, code: 'glmquota_concurrency', unknown: 'soon' },
  PerAgent: { status: 429, code: 'glmquota_concurrency', unknown: 'soon' },
  Rate: { status: 429, code: 'glmquota_rate', unknown: 'soon' },
  Waiting: { status: 429, code: 'glmquota_waiting', unknown: 'soon' },
  QueueFull: { status: 429, code: 'glmquota_queue_full', unknown: 'soon' },
  Breaker: { status: 429, code: 'glmquota_breaker', unknown: 'soon' },
  Window: { status: 429, code: 'glmquota_window', unknown: 'never' },
  Frozen: { status: 429, code: 'glmquota_frozen', unknown: 'never' },
  Stopped: { status: 429, code: 'glmquota_stopped', unknown: 'never' },
  PerCall: { status: 429, code: 'glmquota_per_call', unknown: 'never' },
  Learning: { status: 503, code: 'glmquota_learning', unknown: 'soon' },
  Draining: { status: 503, code: 'glmquota_draining', unknown: 'never' },
  Gone: { status: 403, code: 'glmquota_gone', unknown: 'never' },
};

/** Null: it may be for ever. */
function waitSeconds(denial: Denial, nowMs: number): number | null {
  const { reason, retryAtMs } = denial;
  if (retryAtMs !== null) return Math.max(1, Math.ceil((retryAtMs - nowMs) / 1000));
  return MANNERS[reason].unknown === 'soon' || (reason === 'Window' && isReserved(denial)) ? UNKNOWN_WAIT_S : null;
}

/**
 * Whether calls in flight hold the room of a window: the first of them to end may give some back. What was used up has a
 * known end, and a call that does not even fit into an empty window finds nothing used.
 */
function isReserved({ retryAtMs, used, amount }: Denial): boolean {
  return retryAtMs === null && used > 0 && amount > 0;
}

function describe(denial: Denial): string {
  const until = denial.retryAtMs === null ? '' : `; it may fit again at ${new Date(denial.retryAtMs).toISOString()}`;
  return `glmquota: ${SENTENCES[denial.reason](denial)}${until}`;
}

const SENTENCES: Readonly<Record<DenyReason, (denial: Denial) => string>> = {
  Concurrency: ({ node, used, amount }) => `${node} has ${used} of ${amount} calls in flight`,
  PerAgent: ({ used, amount }) => `this agent has ${used} of ${amount} calls in flight`,
  Rate: ({ node, limit }) =>
    limit === 'pause'
      ? `${node} pauses because the vendor asked for it`
      : `${node} makes calls as fast as its rate allows`,
  Waiting: ({ node }) => `other calls wait before this one at ${node}`,
  QueueFull: ({ node, used, amount }) => `${used} of at most ${amount} calls wait at ${node} already`,
  Breaker: ({ node }) => `too many calls of ${node} failed at the vendor: it rests for a while`,
  Window: (denial) =>
    isReserved(denial)
      ? `calls in flight hold the room of limit ${denial.limit} of ${denial.node} (${denial.used} of ${denial.amount} taken)`
      : `limit ${denial.limit} of ${denial.node} is used up (${denial.used} of ${denial.amount})`,
  Frozen: ({ node }) => `the vendor says that a window of ${node} is used up`,
  Stopped: ({ node }) => `${node} was stopped by its owner`,
  PerCall: ({ node, limit, used, amount }) =>
    `one call may use ${amount} by ${limit} of ${node}, and this one asks for ${used}`,
  Learning: () => 'the quota store lost its memory and is learning again which calls run',
  Draining: () => 'this agent is about to end and gets no new calls',
  Gone: ({ node }) => `${node} was deleted while the call waited`,
};

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
