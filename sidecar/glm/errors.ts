/** What a vendor error means. HTTP status alone says little: 429 has at least six meanings. */
import type { CatalogError, ErrorClass } from '../catalog/terms.ts';
import { parseResetMs } from './reset.ts';
import { isJsonObject, type JsonObject, type VendorFailure } from './terms.ts';

/** An error as it stood in a body or a stream frame. */
export interface ReportedError {
  readonly code: string | null;
  /** The Anthropic surface's error type. */
  readonly type: string | null;
  readonly message: string;
}

const LONGEST_MESSAGE = 500;

/**
 * The error in one JSON body or frame of any surface; null when there is none. Knows `{error: {code, message}}`,
 * `{type: "error", error: {…}}`, error events that are the error themselves, failed responses, and
 * `{code, msg, success: false}`, which comes with status 200.
 */
export function reportedError(json: JsonObject): ReportedError | null {
  const response = json['response'];
  const nested = json['error'] ?? (isJsonObject(response) ? response['error'] : undefined);
  if (isJsonObject(nested)) return errorFrom(nested, 'message');
  if (typeof nested === 'string') return { code: null, type: null, message: nested.slice(0, LONGEST_MESSAGE) };
  if (json['type'] === 'error') return { ...errorFrom(json, 'message'), type: null };
  return json['success'] === false ? errorFrom(json, 'msg') : null;
}

function errorFrom(error: JsonObject, messageField: string): ReportedError {
  const message = typeof error[messageField] === 'string' ? error[messageField] : '';
  const type = typeof error['type'] === 'string' ? error['type'] : null;
  return { code: codeOf(error['code']) ?? leadingCode(message), type, message: message.slice(0, LONGEST_MESSAGE) };
}

function codeOf(code: unknown): string | null {
  if (typeof code === 'number' && Number.isInteger(code)) return code.toString();
  return typeof code === 'string' && code !== '' ? code.slice(0, 64) : null;
}

/** The Anthropic surface may leave `code` out and begin the message with it: `[1308][Usage limit …]`. */
function leadingCode(message: string): string | null {
  return /^\s*\[(\d{3,5})\]/.exec(message)?.[1] ?? null;
}

export interface FailureReport {
  /** HTTP status of the response. */
  readonly status: number;
  /** What the body or the stream said, if anything. */
  readonly error: ReportedError | null;
  readonly nowMs: number;
}

/**
 * What went wrong, by the catalog's row for the code, else by what code, error type and status tell in general; null
 * for a success (status below 400 and no error inside).
 */
export function failureOf(errors: readonly CatalogError[], report: FailureReport): VendorFailure | null {
  const { status, nowMs } = report;
  if (status < 400 && report.error === null) return null;
  const error = report.error ?? { code: null, type: null, message: `HTTP status ${status}` };
  const statedMs = parseResetMs(error.message, nowMs);
  const row = errors.find(({ code }) => code === error.code);
  const kind = row?.class ?? guess(status, error, statedMs !== null);
  return { code: error.code, class: kind, message: error.message, resetAtMs: kind === 'Quota' ? statedMs : null };
}

/** Error types of the Anthropic API. */
const CLASS_OF_TYPE: Readonly<Record<string, ErrorClass>> = {
  invalid_request_error: 'ClientError',
  not_found_error: 'ClientError',
  permission_error: 'ClientError',
  request_too_large: 'ClientError',
  authentication_error: 'AccountStop',
  overloaded_error: 'Overload',
  api_error: 'Retry',
  timeout_error: 'Retry',
};

function guess(status: number, error: ReportedError, statesTime: boolean): ErrorClass {
  // A limit that tells when it ends is a window; one that does not is a rate.
  if (isLimit(status, error)) return statesTime ? 'Quota' : 'Rate';
  return CLASS_OF_TYPE[error.type ?? ''] ?? classOfStatus(status);
}

/** 429, or a limit reported inside a response that had begun well. */
function isLimit(status: number, { code, type }: ReportedError): boolean {
  return status === 429 || (status < 400 && (type === 'rate_limit_error' || /^13\d\d$/.test(code ?? '')));
}

function classOfStatus(status: number): ErrorClass {
  if (status === 401) return 'AccountStop';
  if (status === 529) return 'Overload';
  if (status === 408 || status >= 500 || status < 400) return 'Retry';
  return 'ClientError';
}
