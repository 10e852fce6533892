/** A tree's configuration → the arguments of `configure`. Pure. */
import { createHash } from 'node:crypto';
import { validateTree } from './tree-bounds.ts';
import {
  PRIORITY_CLASSES,
  RESOURCES,
  type LimitConfig,
  type NodeConfig,
  type NodeName,
  type Resource,
  type ScopeConfig,
  type TreeConfig,
  type Window,
} from './tree-terms.ts';

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
export function windowKey({ name, resource, window, windowOwner }: Omit<LimitConfig, 'amount'>): string {
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

/** What stands for nothing. */
const NONE = -1;

function encodeNode(node: NodeConfig, nodes: ReadonlyMap<NodeName, NodeConfig>): string[] {
  const above = ancestry(node, nodes);
  const { intervalUs, burst } = node.rate ?? { intervalUs: 0, burst: 0 };
  const { min, start } = node.adaptive ?? { min: NONE, start: NONE };
  const breaker = node.breaker ?? { failureRatePercent: NONE, minimumCalls: NONE, openForMs: NONE };
  const highest = PRIORITY_CLASSES.indexOf(node.maxClass) + 1;
  const numbers = [
    node.concurrency ?? NONE,
    intervalUs,
    burst,
    min,
    start,
    node.weight,
    highest,
    node.observe ? 1 : 0,
    node.maxQueue ?? NONE,
    breaker.failureRatePercent,
    breaker.minimumCalls,
    breaker.openForMs,
  ];
  return [
    node.name,
    ...counted(above, ({ name }) => [name]),
    ...numbers.map(String),
    ...counted(node.stops, ({ name, fromMs, untilMs, except }) => [
      name,
      String(fromMs),
      String(untilMs ?? -1),
      except.map((each) => PRIORITY_CLASSES.indexOf(each) + 1).join(''),
    ]),
    ...counted(node.perCall, ({ resource, max }) => [indexOf(resource), String(max), resource]),
    ...counted(node.thresholds, (percent) => [String(percent)]),
    ...encodeScope(node.scope),
    ...counted(node.limits, (limit) => encodeLimit(limit, above.slice(1))),
  ];
}

function counted<T>(items: readonly T[], encode: (item: T) => readonly string[]): string[] {
  return [String(items.length), ...items.flatMap(encode)];
}

const indexOf = (resource: Resource): string => String(RESOURCES.indexOf(resource) + 1);

function encodeScope(scope: ScopeConfig | null): string[] {
  if (scope === null) return ['0'];
  const { models, tools, capabilities, sources, users, pools, namespaces, unset } = scope;
  const lists = [models, tools, capabilities, sources, users, pools, namespaces];
  return ['1', ...lists.flatMap((list) => counted(list, (value) => [value])), unset === 'Match' ? '1' : '0'];
}

const KINDS: Readonly<Record<Window['type'], string>> = { Anchored: 'A', Sliding: 'S', Fixed: 'F', Calendar: 'C' };

function encodeLimit(limit: LimitConfig, above: readonly NodeConfig[]): string[] {
  const { windowOwner, guaranteed, ...own } = limit;
  const shared = limit.window.type === 'Anchored' && windowOwner !== undefined;
  const guarantor = guaranteed === undefined ? null : guarantorOf(limit, above);
  return [
    limit.name,
    indexOf(limit.resource),
    String(limit.amount),
    shared ? 'P' : KINDS[limit.window.type],
    windowKey(limit),
    spanOf(limit.window),
    shared ? windowOwner : '',
    shared ? windowKey(own) : '',
    String(guaranteed ?? -1),
    guarantor?.node.name ?? '',
    guarantor ? windowKey(guarantor.limit) : '',
  ];
}

/** The nearest ancestor with a limit of that name: siblings cannot use what it keeps free (rule N3). */
function guarantorOf(
  { name }: LimitConfig,
  above: readonly NodeConfig[],
): { node: NodeConfig; limit: LimitConfig } | null {
  for (const node of above) {
    const limit = node.limits.find((each) => each.name === name);
    if (limit) return { node, limit };
  }
  return null;
}
