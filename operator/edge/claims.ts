/**
 * What a projected token says of itself, read without asking anybody. Nothing of it is believed before the API server
 * has reviewed the token: this only keeps garbage away from it.
 */
import { AppError } from '../../sidecar/base/errors.ts';
import type { ObjectKey } from '../trees/names.ts';

export const TOKEN_AUDIENCE = 'glmquota';

export interface TokenClaims {
  readonly pod: ObjectKey & { readonly uid: string };
  /** Wall time at which the token ends. */
  readonly expiresAtMs: number;
}

const MAX_TOKEN_CHARACTERS = 8_192;
const NAME = /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/;
const UID = /^[-0-9a-zA-Z]{1,64}$/;

/** Fails with `unauthenticated` unless the token is one of a pod, for our audience, and not expired. */
export function readClaims(token: string | null, nowMs: number): TokenClaims {
  if (token === null) throw refusal('a bearer token is needed');
  const payload = record(decodePayload(token));
  const audiences = [payload['aud']].flat();
  if (!audiences.includes(TOKEN_AUDIENCE)) throw refusal(`the token is not for audience ${TOKEN_AUDIENCE}`);
  const expiresAtMs = Number(payload['exp']) * 1000;
  if (!(expiresAtMs > nowMs)) throw refusal('the token has expired');
  const kubernetes = record(payload['kubernetes.io']);
  const pod = record(kubernetes['pod']);
  return {
    pod: {
      namespace: matching(kubernetes['namespace'], NAME),
      name: matching(pod['name'], NAME),
      uid: matching(pod['uid'], UID),
    },
    expiresAtMs,
  };
}

function decodePayload(token: string): unknown {
  const [, payload] = /^[\w-]+\.([\w-]+)\.[\w-]+$/.exec(token) ?? [];
  if (payload === undefined || token.length > MAX_TOKEN_CHARACTERS)
    throw refusal('the bearer is no service account token');
  try {
    return JSON.parse(Buffer.from(payload, 'base64url').toString('utf8'));
  } catch {
    throw refusal('the bearer is no service account token');
  }
}

function record(value: unknown): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null) throw refusal('the token is not bound to a pod');
  return value as Readonly<Record<string, unknown>>;
}

function matching(value: unknown, pattern: RegExp): string {
  if (typeof value !== 'string' || !pattern.test(value)) throw refusal('the token is not bound to a pod');
  return value;
}

function refusal(message: string): AppError {
  return new AppError('unauthenticated', message);
}
