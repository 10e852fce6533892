import { execFileSync } from 'node:child_process';
import { expect, test } from 'vitest';
import { TAR_END, tarFile, tarFolder } from '#test/cluster/images/tar.ts';

test('an archive lists its files as GNU tar reads them: owned by root, without times, with their modes and sizes', () => {
  const archive = Buffer.concat([
    tarFolder('app', 0o755),
    ...tarFile('app/main.mjs', Buffer.from('x'.repeat(513)), 0o644),
    ...tarFile('app/empty', Buffer.alloc(0), 0o600),
    TAR_END,
  ]);
  const listed = execFileSync('tar', ['--list', '--verbose', '--numeric-owner', '--utc', '--file=-'], {
    input: archive,
  });
  expect(
    listed
      .toString()
      .trim()
      .split('\n')
      .map((line) => line.replaceAll(/ +/g, ' ')),
  ).toEqual([
    'drwxr-xr-x 0/0 0 1970-01-01 00:00 app/',
    '-rw-r--r-- 0/0 513 1970-01-01 00:00 app/main.mjs',
    '-rw------- 0/0 0 1970-01-01 00:00 app/empty',
  ]);
});

test('a path that does not fit a header is refused', () => {
  expect(() => [...tarFile('x'.repeat(101), Buffer.alloc(0), 0o644)]).toThrow('longer than a ustar header');
});
