/** Whether a node's children are given more than it has. That is allowed: every ancestor's limits hold too. */
import { formatAmount } from '../api/v1alpha1/amounts.ts';
import type { NodeConfig, NodeName, Resource } from '../../sidecar/engine/terms.ts';
import { ACCOUNT_NODE } from './names.ts';
import type { Overcommitment } from './terms.ts';

interface Share {
  readonly name: string;
  readonly has: number;
  /** Null: concurrency. */
  readonly resource: Resource | null;
  given: bigint;
}

interface Shares {
  readonly parent: NodeName | null;
  readonly own: readonly Share[];
}

/** `nodes`: one tree, parents before children, model nodes left out. Answers by node; null: nothing to say. */
export function findOvercommitments(nodes: readonly NodeConfig[]): ReadonlyMap<NodeName, Overcommitment> {
  const shares = new Map<NodeName, Shares>();
  for (const node of nodes) {
    const own = sharesOf(node);
    for (const { name, has } of own) {
      const giver = nearestAbove(name, node.parent, shares);
      if (giver) giver.given += BigInt(has);
    }
    shares.set(node.name, { parent: node.parent, own });
  }
  return new Map([...shares].map(([node, { own }]) => [node, describe(node, own)]));
}

/** A child counts against the nearest node above that limits the same thing. */
function nearestAbove(name: string, from: NodeName | null, shares: ReadonlyMap<NodeName, Shares>): Share | undefined {
  let at = shares.get(from ?? '');
  while (at) {
    const found = at.own.find((share) => share.name === name);
    if (found) return found;
    at = shares.get(at.parent ?? '');
  }
  return undefined;
}

function sharesOf({ concurrency, limits }: NodeConfig): readonly Share[] {
  const own: Share[] = limits.map(({ name, amount, resource }) => ({
    name: `limit ${name}`,
    has: amount,
    resource,
    given: 0n,
  }));
  if (concurrency !== null) own.push({ name: 'concurrency', has: concurrency, resource: null, given: 0n });
  return own;
}

function describe(node: NodeName, own: readonly Share[]): Overcommitment {
  const over = own.filter(({ has, given }) => given > BigInt(has));
  if (over.length === 0) return null;
  const who = node === ACCOUNT_NODE ? 'quotas of this account' : 'quotas under this one';
  const what = over.map(({ name, has, given, resource }) => {
    const show = (amount: number): string => (resource === null ? String(amount) : formatAmount(resource, amount));
    return `${name} ${show(Number(given))} of ${show(has)}`;
  });
  return `${who} are given more than it has: ${what.join(', ')}; each ancestor's limits hold all the same`;
}
