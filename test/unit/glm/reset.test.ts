import { describe, expect, test } from 'vitest';
import { parseResetMs } from '#sidecar/glm/reset.ts';

const GRACE_MS = 3000;
const NOW = Date.parse('2026-09-09T00:00:00Z');
const at = (text: string): number => Date.parse(text) + GRACE_MS;

describe('a stated reset', () => {
  test.each([
    ['without a zone is UTC+8', 'will reset at 2026-09-09 13:38:28', '2026-09-09T05:38:28Z'],
    ['in Chinese', '已达到 5 小时使用上限，2026-09-09 13:38:28 后可继续使用', '2026-09-09T05:38:28Z'],
    ['with a T', 'reset at 2026-09-09T13:38:28', '2026-09-09T05:38:28Z'],
    ['with Z', 'reset at 2026-09-09T13:38:28Z.', '2026-09-09T13:38:28Z'],
    ['with UTC', 'reset at 2026-09-09 13:38:28 UTC', '2026-09-09T13:38:28Z'],
    ['with an offset', 'reset at 2026-09-09T13:38:28+02:00', '2026-09-09T11:38:28Z'],
    ['with a short offset', 'reset at 2026-09-09 13:38:28 UTC+8', '2026-09-09T05:38:28Z'],
    ['with an offset west', 'reset at 2026-09-09 13:38:28 -0530', '2026-09-09T19:08:28Z'],
    ['with fractions', 'reset at 2026-09-09 13:38:28.123+08:00', '2026-09-09T05:38:28Z'],
    ['a minute past in UTC+8 stays', 'reset at 2026-09-09 07:59:00', '2026-09-08T23:59:00Z'],
    ['more than a minute past in UTC+8 is UTC', 'reset at 2026-09-09 07:58:59', '2026-09-09T07:58:59Z'],
    ['past in UTC too means already reset', 'reset at 2026-09-08 20:00:00', '2026-09-08T20:00:00Z'],
    ['past with a zone stays past', 'reset at 2026-09-08 20:00:00Z', '2026-09-08T20:00:00Z'],
  ])('%s', (_, message, expected) => {
    expect(parseResetMs(message, NOW)).toBe(at(expected));
  });

  test('is at most seven days ahead', () => {
    expect(parseResetMs('reset at 2026-12-09 00:00:00', NOW)).toBe(NOW + 7 * 86_400_000);
  });
});

describe('no reset', () => {
  test.each([
    ['no time at all', 'Rate limit reached for requests'],
    ['a date alone', 'reset on 2026-09-09'],
    ['a day that does not exist', 'reset at 2026-02-30 00:00:00'],
    ['an hour that does not exist', 'reset at 2026-09-09 24:00:00'],
    ['a minute that does not exist', 'reset at 2026-09-09 10:60:00'],
    ['a request id', '[1308][x][20260909133828abc]'],
    ['nothing', ''],
  ])('in a message with %s', (_, message) => {
    expect(parseResetMs(message, NOW)).toBeNull();
  });
});
