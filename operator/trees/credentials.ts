/** The vendor's key as it lies in a Secret of type `glmquota.io/credential`. */
import { hashName } from '../../sidecar/base/ids.ts';

export const CREDENTIAL_TYPE = 'glmquota.io/credential';

export interface Credential {
  readonly apiKey: string;
  /** `data.origin`; null when absent. */
  readonly origin: string | null;
  /** `data["ca.crt"]`: certificates (PEM) trusted for the origin besides the system's; null when absent. */
  readonly caPem: string | null;
}

/** What compiling needs to know of a Secret; never the key. */
export type CredentialReading =
  | { readonly ok: true; readonly keyHash: string; readonly origin: string | null }
  | { readonly ok: false; readonly message: string };

export type ReadCredential =
  | { readonly ok: true; readonly credential: Credential }
  | { readonly ok: false; readonly message: string };

interface SecretLike {
  readonly type?: unknown;
  readonly data?: Readonly<Record<string, unknown>> | null;
  readonly stringData?: Readonly<Record<string, unknown>> | null;
}

const KEY = /^[\x21-\x7e]{8,512}$/;

/** Reads a Secret as the API server (`data`, base64) or a file (`stringData` too) states it. Messages hold no values. */
export function readCredential(secret: unknown): ReadCredential {
  const object = (typeof secret === 'object' ? secret : null) as SecretLike | null;
  const message = problemOf(object);
  if (message !== null) return { ok: false, message };
  const origin = entry(object, 'origin').trim().replace(/\/$/, '');
  const caPem = entry(object, 'ca.crt');
  return {
    ok: true,
    credential: {
      apiKey: entry(object, 'apiKey').trim(),
      origin: origin === '' ? null : origin,
      caPem: caPem === '' ? null : caPem,
    },
  };
}

function problemOf(secret: SecretLike | null): string | null {
  const type = typeof secret?.type === 'string' ? secret.type : 'Opaque';
  if (type !== CREDENTIAL_TYPE) return `has type ${type}; make it anew with type: ${CREDENTIAL_TYPE}`;
  const apiKey = entry(secret, 'apiKey').trim();
  if (apiKey === '') return 'has no data.apiKey; put the vendor key there';
  if (!KEY.test(apiKey)) return 'has a data.apiKey that is no key: 8 to 512 printable characters, no spaces';
  const caPem = entry(secret, 'ca.crt');
  if (caPem !== '' && !caPem.includes('-----BEGIN CERTIFICATE-----'))
    return 'has a data["ca.crt"] that is no certificate in PEM form';
  return null;
}

/** `readCredential` without the key: what may be kept in memory and compared. */
export function readCredentialFacts(secret: unknown): CredentialReading {
  const read = readCredential(secret);
  if (!read.ok) return read;
  return { ok: true, keyHash: hashName(read.credential.apiKey, 52), origin: read.credential.origin };
}

function entry(secret: SecretLike | null, key: string): string {
  const plain = secret?.stringData?.[key];
  if (typeof plain === 'string') return plain;
  const encoded = secret?.data?.[key];
  return typeof encoded === 'string' ? Buffer.from(encoded, 'base64').toString('utf8') : '';
}
