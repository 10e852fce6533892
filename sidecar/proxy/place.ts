/** A name for a call that a client repeats: the same request has the same name. */
import { createHash } from 'node:crypto';

const LENGTH = 22;

/** Of the quota, the path and the body: whoever comes back with all three is taken for the one who left. */
export function placeOf(leaf: string, target: string, body: Uint8Array): string {
  const path = target.split('?', 1)[0] ?? '';
  const hash = createHash('sha256')
    .update(JSON.stringify([leaf, path]))
    .update(body);
  return hash.digest('base64url').slice(0, LENGTH);
}
