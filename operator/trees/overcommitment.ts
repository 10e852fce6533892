/** Whether a node's children are given more than it has. That is allowed: every ancestor's limits hold too. */
import { formatAmount } from '../api/v1alpha1/amounts.ts';
import type { NodeConfig, NodeName, Resource } from '../../sidecar/engine/tree-terms.ts';
import { ACCOUNT_NODE } from './names.ts';
import type { Overcommitment } from './terms.ts';

interface Share {
  readonly name: string;
  readonly has: number;
  /** Null: concurrency. */
  readonly resource: Resource | null;
  given: bigint;
  guaranteed: bigint;
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
    // What scope nodes count is counted by the quotas beside them too: it is given to nobody else.
    for (const { name, has } of node.scope === null ? own : []) {
      const giver = nearestAbove(name, node.parent, shares);
      if (giver) giver.given += BigInt(has);
    }
    for (const { name, guaranteed = 0 } of node.limits) {
      const giver = nearestAbove(`limit ${name}`, node.parent, shares);
      if (giver) giver.guaranteed += BigInt(guaranteed);
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
    guaranteed: 0n,
  }));
  if (concurrency !== null)
    own.push({ name: 'concurrency', has: concurrency, resource: null, given: 0n, guaranteed: 0n });
  return own;
}

function describe(node: NodeName, own: readonly Share[]): Overcommitment {
  const over = own.flatMap(({ name, has, given, guaranteed, resource }) => {
    const show = (amount: bigint | number): string =>
      resource === null ? String(amount) : formatAmount(resource, Number(amount));
    return [
      ...(given > BigInt(has) ? [`${name} ${show(given)} of ${show(has)}`] : []),
      ...(guaranteed > BigInt(has) ? [`guaranteed of ${name} ${show(guaranteed)} of ${show(has)}`] : []),
    ];
  });
  if (over.length === 0) return null;
  const who = node === ACCOUNT_NODE ? 'quotas of this account' : 'quotas under this one';
  return `${who} are given more than it has: ${over.join(', ')}; each ancestor's limits hold all the same`;
}
