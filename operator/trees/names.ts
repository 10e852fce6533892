/** How objects are named in a tree. Stable: nodes and windows in Redis are found by these names (rules W3, W4). */
import { hashName } from '../../sidecar/base/ids.ts';
import type { NodeName, TreeKey } from '../../sidecar/engine/tree-terms.ts';

export interface ObjectKey {
  readonly namespace: string;
  readonly name: string;
}

export const ACCOUNT_NODE: NodeName = 'account';
export const OTHER_MODEL_NODE: NodeName = 'model:other';

/** `namespace/name`: the key of all maps over namespaced objects. */
export function objectId(key: ObjectKey): string {
  return `${key.namespace}/${key.name}`;
}

export function quotaNode(key: ObjectKey): NodeName {
  return `quota:${key.namespace}/${key.name}`;
}

export function modelNode(model: string): NodeName {
  return `model:${model}`;
}

/** The Redis hash tag of an account's tree. */
export function treeKeyOf(account: ObjectKey): TreeKey {
  return hashName(objectId(account), 26);
}

const LABEL_LENGTH = 63;

/** The value of the label by which pods name their pool: its name, or a stand-in where that is too long for a label. */
export function poolLabel(name: string): string {
  return name.length <= LABEL_LENGTH ? name : `${name.slice(0, 40)}-${hashName(name, 20)}`;
}
