/** The Redis user of each tree: whoever is bound to one account cannot touch the counters of another (rules F2, W5). */
import { createHash, createHmac } from 'node:crypto';
import { treeRules, treeUser } from '../sidecar/engine/acl.ts';
import type { Commandable } from '../sidecar/engine/library.ts';
import type { TreeKey } from '../sidecar/engine/tree-terms.ts';

/** Derived, so that controller and edge agree without storing it, and a restart changes nothing. */
export function treePassword(usersKey: string, tree: TreeKey): string {
  return createHmac('sha256', usersKey).update(treeUser(tree)).digest('base64url');
}

/** Writes the user to one server, in one step: whoever is logged in as it notices nothing. */
export async function setTreeUser(server: Commandable, tree: TreeKey, usersKey: string): Promise<void> {
  const hash = createHash('sha256').update(treePassword(usersKey, tree)).digest('hex');
  // What the engine goes by; see `caller.ts`.
  const [known] = (await server.call('COMMAND', 'INFO', 'FCALL')) as readonly unknown[];
  const rules = treeRules(tree, known ? 'functions' : 'scripts');
  await server.call('ACL', 'SETUSER', treeUser(tree), 'reset', 'on', `#${hash}`, ...rules);
}
