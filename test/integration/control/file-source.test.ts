import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { renderSnapshotFile } from '#sidecar/control/encode.ts';
import { fileSource } from '#sidecar/control/file-source.ts';
import { DEMANDS, exampleSnapshot, VERSION } from '#test/support/control/snapshots.ts';

async function fileWith(text: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'snapshot-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  const path = join(folder, 'snapshot.json');
  await writeFile(path, text);
  return path;
}

test('a snapshot written by local mode is yielded once, then the watch waits for the signal', async () => {
  const path = await fileWith(renderSnapshotFile(exampleSnapshot(), DEMANDS));
  const stop = new AbortController();
  const watching = fileSource(path, VERSION).watch(stop.signal)[Symbol.asyncIterator]();
  expect((await watching.next()).value).toEqual(exampleSnapshot());
  const second = watching.next();
  stop.abort();
  expect((await second).done).toBe(true);
});

test.each([
  ['no JSON', '{', 'invalid'],
  ['an unknown field', '{"keys": "s3cret"}', 'invalid'],
  [
    'an unknown enum value',
    renderSnapshotFile(exampleSnapshot(), DEMANDS).replace('BILLING_CODING_PLAN', 'NEW'),
    'invalid',
  ],
  ['an empty snapshot', '{}', 'unsupported'],
])('a file with %s is refused without quoting it', async (_, text, code) => {
  const path = await fileWith(text);
  const first = fileSource(path, VERSION).watch(new AbortController().signal)[Symbol.asyncIterator]().next();
  await expect(first).rejects.toMatchObject({ code, message: expect.not.stringContaining('s3cret') });
});

test('a missing file is said to be missing', async () => {
  const first = fileSource('/nowhere/snapshot.json', VERSION)
    .watch(new AbortController().signal)
    [Symbol.asyncIterator]()
    .next();
  await expect(first).rejects.toMatchObject({ code: 'notFound' });
});
