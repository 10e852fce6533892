/** A tree's configuration → the arguments of `configure`. Pure. */
import { createHash } from 'node:crypto';
import { validateTree } from './tree-bounds.ts';
import { RESOURCES, type LimitConfig, type NodeConfig, type NodeName, type TreeConfig, type Window } from './terms.ts';

/**
 * SHA-256 (hex) of everything `configure` writes except the revision: equal for equal trees, whoever compiled them.
 * Fails with code `invalid` for a tree that is out of bounds.
 */
export function configHash(tree: TreeConfig): string {
  return hashOf(encodeTree(tree));
}

/** Account (namespace, name, uid), calendars and nodes as `lua/configure.lua` reads them. Checks all bounds first. */
export function encodeTree(tree: TreeConfig): EncodedTree {
  validateTree(tree);
  const { namespace, name, uid } = tree.account;
  const calendars = calendarsOf(tree);
  const nodes = new Map(tree.nodes.map((node) => [node.name, node]));
  return {
    account: [namespace, name, uid],
    body: [
      String(calendars.size),
      ...[...calendars].flat(),
      String(tree.nodes.length),
      ...tree.nodes.flatMap((node) => encodeNode(node, nodes)),
    ],
  };
}

export interface EncodedTree {
  readonly account: readonly string[];
  readonly body: readonly string[];
}

export function hashOf({ account, body }: EncodedTree): string {
  return createHash('sha256')
    .update(JSON.stringify([account, body]))
    .digest('hex');
}

/**
 * What makes a window the same window within its node (rule W4): its limit's name, resource, type, span and, where it is
 * shared, whose it is.
 */
export function windowKey({ name, resource, window, windowOwner }: LimitConfig): string {
  const owner = window.type === 'Anchored' ? (windowOwner ?? '') : '';
  return [name, resource, window.type, spanOf(window), owner].join('|');
}

/** The node and its ancestors, nearest first. */
export function ancestry(node: NodeConfig, nodes: ReadonlyMap<NodeName, NodeConfig>): readonly NodeConfig[] {
  const path: NodeConfig[] = [];
  for (let at: NodeConfig | undefined = node; at; at = at.parent === null ? undefined : nodes.get(at.parent))
    path.push(at);
  return path;
}

function spanOf(window: Window): string {
  return window.type === 'Calendar' ? `${window.period} ${window.timeZone}` : String(window.durationMs);
}

/** Calendar name → its boundaries as 14-digit numbers in one string, which Lua searches without decoding all. */
function calendarsOf(tree: TreeConfig): ReadonlyMap<string, string> {
  const calendars = new Map<string, string>();
  for (const { limits } of tree.nodes) {
    for (const { window } of limits) {
      if (window.type !== 'Calendar') continue;
      calendars.set(spanOf(window), window.boundariesMs.map((ms) => String(ms).padStart(14, '0')).join(''));
    }
  }
  return calendars;
}

function encodeNode(node: NodeConfig, nodes: ReadonlyMap<NodeName, NodeConfig>): string[] {
  const path = ancestry(node, nodes).map(({ name }) => name);
  return [
    node.name,
    String(path.length),
    ...path,
    String(node.concurrency ?? -1),
    String(node.rate?.intervalUs ?? 0),
    String(node.rate?.burst ?? 0),
    node.stopped ? '1' : '0',
    String(node.limits.length),
    ...node.limits.flatMap(encodeLimit),
  ];
}

function encodeLimit(limit: LimitConfig): string[] {
  const { windowOwner, ...own } = limit;
  const shared = limit.window.type === 'Anchored' && windowOwner !== undefined;
  return [
    limit.name,
    String(RESOURCES.indexOf(limit.resource) + 1),
    String(limit.amount),
    shared ? 'P' : limit.window.type.slice(0, 1),
    windowKey(limit),
    spanOf(limit.window),
    shared ? windowOwner : '',
    shared ? windowKey(own) : '',
  ];
}
