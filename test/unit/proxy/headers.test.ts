import { expect, test } from 'vitest';
import { downstreamHeaders, headerOf, upstreamHeaders } from '#sidecar/proxy/headers.ts';

const upstream = { host: 'api.example:8443', apiKey: 'real.key' };

test('the placeholder credential is replaced where it stood, in the form the client chose', () => {
  expect(upstreamHeaders(['X', '1', 'Authorization', 'Bearer placeholder', 'Y', '2'], upstream)).toEqual([
    'Host',
    'api.example:8443',
    'X',
    '1',
    'Authorization',
    'Bearer real.key',
    'Y',
    '2',
  ]);
  expect(upstreamHeaders(['authorization', 'placeholder'], upstream).slice(2)).toEqual(['authorization', 'real.key']);
  expect(upstreamHeaders(['X-Api-Key', 'placeholder'], upstream).slice(2)).toEqual(['X-Api-Key', 'real.key']);
});

test('a call without credential gets one', () => {
  expect(upstreamHeaders([], upstream)).toEqual(['Host', 'api.example:8443', 'Authorization', 'Bearer real.key']);
});

test('order, letter case and repetition of all other headers stay', () => {
  const raw = ['X-Stainless-Lang', 'js', 'x-A', '1', 'X-a', '2', 'Accept-Encoding', 'br', 'x-A', '1'];
  expect(upstreamHeaders([...raw, 'x-api-key', 'p'], upstream).slice(2)).toEqual([...raw, 'x-api-key', 'real.key']);
});

test('hop-by-hop headers, those the connection names, and our own do not travel', () => {
  const raw = ['Connection', 'keep-alive, X-Private', 'Keep-Alive', 'timeout=5', 'x-private', '1', 'TE', 'trailers'];
  const more = ['Transfer-Encoding', 'chunked', 'Upgrade', 'h2c', 'Expect', '100-continue', 'X-GLMQuota-User', 'me'];
  const kept = ['x-api-key', 'p'];
  expect(upstreamHeaders([...raw, ...more, ...kept], upstream)).toEqual([
    'Host',
    upstream.host,
    'x-api-key',
    'real.key',
  ]);
  expect(downstreamHeaders([...raw, ...more, 'X-Request-Id', '7'])).toEqual(['X-Request-Id', '7']);
});

test('a header is found whatever its letter case', () => {
  expect(headerOf(['Content-Type', 'a', 'content-type', 'b'], 'content-type')).toBe('a');
  expect(headerOf([], 'content-type')).toBeNull();
});
