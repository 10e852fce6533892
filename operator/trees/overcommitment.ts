/** Whether a node's children are given more than it has. That is allowed: every ancestor's limits hold too. */
import { formatAmount } from '../api/v1alpha1/amounts.ts';
import type { NodeConfig, NodeName } from '../../sidecar/engine/terms.ts';
import { ACCOUNT_NODE } from './names.ts';
import type { Overcommitment } from './terms.ts';

const CONCURRENCY = 'concurrency';

interface Share {
  readonly has: number;
  readonly show: (amount: number) => string;
  given: bigint;
}

/** `nodes`: one tree, parents before children, model nodes left out. Answers by node; absent: nothing to say. */
export function findOvercommitments(nodes: readonly NodeConfig[]): ReadonlyMap<NodeName, Overcommitment> {
  const shares = new Map<NodeName, Map<string, Share>>();
  /** Per node: the nearest node at or above it that limits something, by limit name. */
  const nearest = new Map<NodeName, ReadonlyMap<string, NodeName>>();
  for (const node of nodes) {
    const above = nearest.get(node.parent ?? '') ?? new Map<string, NodeName>();
    const own = sharesOf(node);
    for (const [name, share] of own) {
      const giver = shares.get(above.get(name) ?? '')?.get(name);
      if (giver) giver.given += BigInt(share.has);
    }
    shares.set(node.name, own);
    nearest.set(node.name, own.size === 0 ? above : new Map([...above, ...[...own.keys()].map(at(node.name))]));
  }
  return new Map([...shares].map(([node, own]) => [node, describe(node, own)]));
}

const at =
  (node: NodeName) =>
  (name: string): [string, NodeName] => [name, node];

function sharesOf(node: NodeConfig): Map<string, Share> {
  const own = new Map<string, Share>();
  if (node.concurrency !== null) own.set(CONCURRENCY, { has: node.concurrency, show: String, given: 0n });
  for (const { name, amount, resource } of node.limits)
    own.set(`limit ${name}`, { has: amount, show: (value) => formatAmount(resource, value), given: 0n });
  return own;
}

function describe(node: NodeName, own: ReadonlyMap<string, Share>): Overcommitment {
  const over = [...own].filter(([, { has, given }]) => given > BigInt(has));
  if (over.length === 0) return null;
  const what = node === ACCOUNT_NODE ? 'quotas of this account' : 'quotas under this one';
  return `${what} are given more than it has: ${over
    .map(([name, { has, given, show }]) => `${name} ${show(Number(given))} of ${show(has)}`)
    .join(', ')}; each ancestor's limits hold all the same`;
}
