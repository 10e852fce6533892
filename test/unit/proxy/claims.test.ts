import { describe, expect, test } from 'vitest';
import { parseClaims } from '#sidecar/proxy/claims.ts';
import { warningHeaders } from '#sidecar/proxy/headers.ts';
import { placeOf } from '#sidecar/proxy/place.ts';

describe('claims', () => {
  test('are read from our headers, whatever their letter case; others say nothing', () => {
    const raw = [
      'X-GLMQuota-Tool',
      ' lint ',
      'x-glmquota-capability',
      'review',
      'x-glmquota-source',
      'nightly',
      'x-glmquota-user',
      'ann',
      'x-glmquota-priority',
      'low',
      'x-glmquota-max-wait',
      '1m30s',
      'x-tool',
      'other',
      'x-glmquota-pool',
      'mine',
    ];
    expect(parseClaims(raw)).toEqual({
      attributes: { tool: 'lint', capability: 'review', source: 'nightly', user: 'ann' },
      class: 'Low',
      maxWaitMs: 90_000,
    });
  });

  test('of a request without any are none', () => {
    expect(parseClaims(['Content-Type', 'application/json'])).toEqual({});
  });

  test('given twice count as they came first', () => {
    expect(parseClaims(['x-glmquota-user', 'ann', 'X-GLMQuota-User', 'bob']).attributes).toEqual({ user: 'ann' });
  });

  test.each([
    ['0', 0],
    ['250ms', 250],
    ['2h', 7_200_000],
    ['1m500ms', 60_500],
  ])('a wait of %s is %i ms', (text, ms) => {
    expect(parseClaims(['x-glmquota-max-wait', text]).maxWaitMs).toBe(ms);
  });

  test.each([
    ['priority', 'urgent'],
    ['max-wait', '30'],
    ['max-wait', '-1s'],
    ['tool', ''],
    ['user', 'a'.repeat(129)],
    ['source', 'a\tb'],
  ])('%s: %j is refused, naming the header', (name, value) => {
    expect(() => parseClaims([`x-glmquota-${name}`, value])).toThrowError(
      expect.objectContaining({ code: 'invalid', message: expect.stringContaining(`x-glmquota-${name}`) }),
    );
  });
});

describe('the place of a call', () => {
  const body = Buffer.from('{}');

  test('is that of the same quota, path and body, whatever the query', () => {
    expect(placeOf('quota:a/b', '/v4/chat', body)).toBe(placeOf('quota:a/b', '/v4/chat?beta=1', Buffer.from('{}')));
  });

  test.each([
    ['quota:a/c', '/v4/chat', '{}'],
    ['quota:a/b', '/v4/other', '{}'],
    ['quota:a/b', '/v4/chat', '{} '],
    ['quota:a/b/v4', '/chat', '{}'],
  ])('differs for %s %s %s', (leaf, path, text) => {
    expect(placeOf(leaf, path, Buffer.from(text))).not.toBe(placeOf('quota:a/b', '/v4/chat', body));
  });
});

test('a warning names node, limit and percent, and cannot break its header', () => {
  const warnings = [
    { node: 'quota:team/a', limit: 'five-hour', percent: 82 },
    { node: 'a\r\nx: y', limit: 'ü', percent: 100 },
  ];
  expect(warningHeaders(warnings)).toEqual([
    'x-glmquota-warning',
    'quota:team/a/five-hour;percent=82',
    'x-glmquota-warning',
    'a??x:?y/?;percent=100',
  ]);
});
