/** Error answers in the shape of each surface. */
import { naiveStamp, type ErrorFacts, type Facts } from './facts.ts';
import type { ErrorKnobs } from './terms.ts';

export type SurfaceName = 'chat' | 'messages' | 'responses';

export interface Refusal {
  code: string;
  status?: number;
  message?: string;
  /** End of the used-up window. */
  resetsMs?: number;
  window?: string;
  model?: string;
}

export interface ErrorAnswer {
  status: number;
  headers: Record<string, string>;
  body: string;
}

export interface RefusalContext {
  facts: Facts;
  knobs: ErrorKnobs;
  surface: SurfaceName;
  nowMs: number;
  requestId: string;
  acceptLanguage: string | undefined;
  /** The client sent `anthropic-beta`: only then quota refusals say when to come back. */
  hasBeta: boolean;
}

const MESSAGES_TYPES: Record<number, string> = {
  400: 'invalid_request_error',
  401: 'authentication_error',
  403: 'permission_error',
  404: 'not_found_error',
  429: 'rate_limit_error',
  529: 'overloaded_error',
};

const unknownError: ErrorFacts = { status: 500, en: 'Internal Error', zh: '内部错误' };

function wantsChinese(context: RefusalContext): boolean {
  if (context.knobs.language !== 'ByHeader') return context.knobs.language === 'Chinese';
  return !/^en/i.test(context.acceptLanguage ?? '');
}

function messageOf(refusal: Refusal, known: ErrorFacts, context: RefusalContext): string {
  const text = refusal.message ?? (wantsChinese(context) ? known.zh : known.en);
  return text
    .replace('{window}', refusal.window ?? '5 hour')
    .replace('{model}', refusal.model ?? 'this model')
    .replace('{reset}', refusal.resetsMs === undefined ? '' : naiveStamp(context.facts, refusal.resetsMs));
}

/** The body alone, as it also appears inside a stream. */
export function errorBody(refusal: Refusal, context: RefusalContext): { status: number; body: object } {
  const known = context.facts.errors[refusal.code] ?? unknownError;
  const message = messageOf(refusal, known, context);
  if (context.surface !== 'messages')
    return { status: refusal.status ?? known.status, body: { error: { code: refusal.code, message } } };
  const status = refusal.status ?? known.messagesStatus ?? known.status;
  const type = MESSAGES_TYPES[status] ?? 'api_error';
  const text = `[${refusal.code}][${message}][${context.requestId}]`;
  const error = context.knobs.messagesCode ? { type, code: refusal.code, message: text } : { type, message: text };
  return { status, body: { type: 'error', error, request_id: context.requestId } };
}

/** The whole HTTP answer. */
export function errorAnswer(refusal: Refusal, context: RefusalContext): ErrorAnswer {
  const { status, body } = errorBody(refusal, context);
  const headers: Record<string, string> = { 'content-type': 'application/json; charset=UTF-8' };
  if (context.surface === 'messages' && context.hasBeta && refusal.resetsMs !== undefined) {
    headers['retry-after'] = String(Math.max(0, Math.ceil((refusal.resetsMs - context.nowMs) / 1000)));
    headers['anthropic-ratelimit-unified-status'] = 'rejected';
  }
  return { status, headers, body: JSON.stringify(body) };
}

/** What the vendor says to a path it does not serve. */
export function unknownPath(path: string, knobs: ErrorKnobs): ErrorAnswer {
  const headers = { 'content-type': 'application/json' };
  if (knobs.unknownPath === 'Error500')
    return { status: 500, headers, body: '{"error":{"code":"500","message":"404 NOT_FOUND"}}' };
  const inner = path.replace(/^\/api\/(coding\/)?paas/, '');
  const body = { timestamp: new Date().toISOString(), status: 404, error: 'Not Found', path: inner };
  return { status: 404, headers, body: JSON.stringify(body) };
}
