/**
 * Which headers travel. Pure, on flat arrays (name, value, name, value, …) as they came off the wire: order, letter
 * case and repetition stay as they are.
 */

import type { Warning } from '../engine/terms.ts';

/** Meant for one connection, not for the other end (RFC 9110, 7.6.1); `expect` is answered here. */
const HOP_BY_HOP: ReadonlySet<string> = new Set([
  'connection',
  'expect',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);
const OURS = 'x-glmquota-';
const LONGEST_NAME = 512;

/** Headers named in `Connection` belong to the connection too. */
function namedInConnection(raw: readonly string[]): ReadonlySet<string> {
  const named = new Set<string>();
  for (let i = 0; i < raw.length; i += 2) {
    if (raw[i]?.toLowerCase() !== 'connection') continue;
    for (const name of raw[i + 1]?.split(',') ?? []) named.add(name.trim().toLowerCase());
  }
  return named;
}

function* endToEnd(raw: readonly string[]): Generator<readonly [name: string, lower: string, value: string]> {
  const named = namedInConnection(raw);
  for (let i = 0; i < raw.length; i += 2) {
    const name = raw[i] ?? '';
    const lower = name.toLowerCase();
    if (HOP_BY_HOP.has(lower) || named.has(lower) || lower.startsWith(OURS)) continue;
    yield [name, lower, raw[i + 1] ?? ''];
  }
}

/**
 * The client's headers for the vendor: its placeholder credential replaced by `apiKey` wherever it stood (added when
 * there was none), `Host` by the vendor's, the length left to the connection, which knows the body.
 */
export function upstreamHeaders(raw: readonly string[], upstream: { host: string; apiKey: string }): string[] {
  const headers = ['Host', upstream.host];
  let hasCredential = false;
  for (const [name, lower, value] of endToEnd(raw)) {
    if (lower === 'host' || lower === 'content-length') continue;
    if (lower === 'authorization') {
      // The monitor API takes the bare key as well as a bearer token: keep the form the client chose.
      headers.push(name, /^bearer\s/i.test(value) ? `Bearer ${upstream.apiKey}` : upstream.apiKey);
      hasCredential = true;
    } else if (lower === 'x-api-key') {
      headers.push(name, upstream.apiKey);
      hasCredential = true;
    } else {
      headers.push(name, value);
    }
  }
  if (!hasCredential) headers.push('Authorization', `Bearer ${upstream.apiKey}`);
  return headers;
}

/** The vendor's headers for the client. */
export function downstreamHeaders(raw: readonly string[]): string[] {
  const headers: string[] = [];
  for (const [name, , value] of endToEnd(raw)) headers.push(name, value);
  return headers;
}

/** What a grant warns of, one header a limit. */
export function warningHeaders(warnings: readonly Warning[]): string[] {
  return warnings.flatMap(({ node, limit, percent }) => {
    // Names come from the cluster and are plain; a header must not break even if one is not.
    const where = `${node}/${limit}`.replace(/[^\x21-\x7e]/g, '?').slice(0, LONGEST_NAME);
    return ['x-glmquota-warning', `${where};percent=${percent}`];
  });
}

/** The first value of a header, or null. `name` in lower case. */
export function headerOf(raw: readonly string[], name: string): string | null {
  for (let i = 0; i < raw.length; i += 2) if (raw[i]?.toLowerCase() === name) return raw[i + 1] ?? '';
  return null;
}
