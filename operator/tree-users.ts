/** The Redis user of each tree: whoever is bound to one account cannot touch the counters of another (rules F2, W5). */
import { createHash, createHmac } from 'node:crypto';
import { treeRules, treeUser } from '../sidecar/engine/acl.ts';
import type { Commandable } from '../sidecar/engine/library.ts';
import type { TreeKey } from '../sidecar/engine/tree-terms.ts';
import { ANNOTATION_ROTATE } from './api/v1alpha1/labels.ts';
import type { Observed } from './controllers/world/kinds.ts';

/** What else than the tree a password derives from; null: nothing. */
export type Rotation = string | null;

/**
 * The account's uid and annotation: one that is deleted and made again has a password that nobody knows yet. Null: there
 * is no such account.
 */
export function rotationOf(account: Pick<Observed<unknown>, 'uid' | 'annotations'> | undefined): Rotation {
  if (account === undefined) return null;
  const { [ANNOTATION_ROTATE]: rotated } = account.annotations;
  return rotated === undefined ? account.uid : `${account.uid}\n${rotated}`;
}

/** Derived, so that controller and edge agree without storing it, and a restart changes nothing. */
export function treePassword(usersKey: string, tree: TreeKey, rotation: Rotation = null): string {
  const words = rotation === null ? treeUser(tree) : `${treeUser(tree)}\n${rotation}`;
  return createHmac('sha256', usersKey).update(words).digest('base64url');
}

/**
 * Writes the user with the passwords of these rotations to one server, in one step: whoever is logged in as it notices
 * nothing.
 */
export async function setTreeUser(
  server: Commandable,
  tree: TreeKey,
  usersKey: string,
  rotations: readonly Rotation[] = [null],
): Promise<void> {
  const hashes = rotations.map((rotation) =>
    createHash('sha256')
      .update(treePassword(usersKey, tree, rotation))
      .digest('hex'),
  );
  // What the engine goes by; see `caller.ts`.
  const [known] = (await server.call('COMMAND', 'INFO', 'FCALL')) as readonly unknown[];
  const rules = treeRules(tree, known ? 'functions' : 'scripts');
  await server.call('ACL', 'SETUSER', treeUser(tree), 'reset', 'on', ...hashes.map((hash) => `#${hash}`), ...rules);
}
