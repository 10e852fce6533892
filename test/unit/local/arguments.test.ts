import { expect, test } from 'vitest';
import { parseArguments } from '#operator/local/arguments.ts';

test('files, quota and Redis are taken', () => {
  expect(
    parseArguments(['-f', 'a.yaml', '--file', 'b.yaml', '--quota', 'glm/team', '--redis', 'redis://127.0.0.1:7']),
  ).toEqual({
    kind: 'run',
    options: {
      files: ['a.yaml', 'b.yaml'],
      quota: { namespace: 'glm', name: 'team' },
      redisUrl: 'redis://127.0.0.1:7',
    },
  });
});

test.each([['redis://localhost:6379'], ['redis://[::1]:6379'], ['rediss://user:word@redis.example:6380']])(
  '%s may be used',
  (url) => {
    expect(parseArguments(['-f', 'a', '--redis', url])).toMatchObject({ kind: 'run' });
  },
);

test.each([
  [[], /no file given; add -f/],
  [['-f', 'a', '--quota', 'team'], /--quota must be namespace\/name, not team/],
  [['-f', 'a', '--redis', 'redis://10.0.0.1:6379'], /not on this machine; use rediss/],
  [['-f', 'a', '--redis', 'localhost'], /--redis must be/],
  [['-f', 'a', '--colour'], /--colour/],
  [['-f', 'a', 'stray'], /stray/],
])('%j is wrong and says why', (argv, message) => {
  const parsed = parseArguments(argv);
  expect(parsed).toMatchObject({ kind: 'wrong', problems: [expect.stringMatching(message)] });
});

test('help is given whatever else is asked', () => {
  expect(parseArguments(['-h', '--quota', 'x'])).toEqual({ kind: 'help' });
});
