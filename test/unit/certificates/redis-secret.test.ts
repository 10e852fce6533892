import { expect, test } from 'vitest';
import { redisCredentials } from '#operator/certificates/redis-secret.ts';
import { sidecarSettings } from '#operator/redis-link.ts';
import { treePassword } from '#operator/tree-users.ts';
import { TREE_KEY } from '#test/support/engine.ts';

const OPERATOR = { 'operator-username': 'operator', 'operator-password': 'secret' };
const SHARED = { 'sidecar-username': 'sidecar', 'sidecar-password': 'another' };
const URL = 'rediss+sentinel://a:1,b:2/main';
const OTHER_TREE = 'bcdefghijklmnopqrstuvwxyza';

function settingsOf(data: Record<string, string>) {
  const credentials = redisCredentials({ ...OPERATOR, ...data });
  if (credentials === null) throw new Error('these credentials are whole');
  return sidecarSettings(URL, credentials);
}

test("with a key for them, the sidecars of each tree have a user of its own, and nothing of the operator's", () => {
  const settings = settingsOf({ ...SHARED, 'tree-users-key': 'the-key', 'ca.crt': 'PEM' });
  expect(settings(TREE_KEY)).toEqual({
    url: URL,
    username: `glmquota-tree-${TREE_KEY}`,
    password: treePassword('the-key', TREE_KEY),
    caPem: 'PEM',
  });
  expect(settings(OTHER_TREE).password).not.toBe(settings(TREE_KEY).password);
  expect(settings(TREE_KEY)).toBe(settings(TREE_KEY));
  expect(settings(TREE_KEY, 'again')).toMatchObject({ password: treePassword('the-key', TREE_KEY, 'again') });
  expect(settings(TREE_KEY, 'again')).toBe(settings(TREE_KEY, 'again'));
});

test('a Secret without that key, as the first release made it, gives all sidecars its one user', () => {
  const settings = settingsOf(SHARED);
  const shared = { url: URL, username: 'sidecar', password: 'another', caPem: null };
  expect([settings(TREE_KEY), settings(OTHER_TREE)]).toEqual([shared, shared]);
});

test('sidecars may ask the Sentinels as the user that the Secret names for them', () => {
  const sentinel = { 'sentinel-username': 'asker', 'sentinel-password': 'third' };
  const expected = { username: 'asker', password: 'third' };
  expect(settingsOf({ ...SHARED, ...sentinel })(TREE_KEY).sentinel).toEqual(expected);
});

test.each<[string, Record<string, string>]>([
  ['the operator', { ...SHARED, 'tree-users-key': 'the-key' }],
  ["the operator's password", { ...SHARED, 'operator-username': 'operator' }],
  ['the sidecars', OPERATOR],
  ["the sidecars' password", { ...OPERATOR, 'sidecar-username': 'sidecar' }],
])('a Secret without %s is not whole', (_, data) => {
  expect(redisCredentials(data)).toBeNull();
});
