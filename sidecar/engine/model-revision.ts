/** Reference model: whether a writer of configuration is older, and what a configuration changes. Pure. */
import { ancestry } from './tree.ts';
import type { ConfigureReply } from './terms.ts';
import type { NodeConfig, NodeName, Revision, TreeConfig } from './tree-terms.ts';

export interface ModelConfig {
  readonly tree: TreeConfig;
  readonly revision: Revision;
  /** Generation since which all paths are as they are. */
  readonly pathGeneration: number;
}

/** Null: there was none before. */
export function nextConfig(old: ModelConfig | null, tree: TreeConfig, revision: Revision): ModelConfig {
  const sameLeader =
    old?.revision.leaseCreatedMs === revision.leaseCreatedMs && old.revision.transitions === revision.transitions;
  const kept = old && sameLeader && pathsOf(old.tree) === pathsOf(tree);
  return { tree, revision, pathGeneration: kept ? old.pathGeneration : revision.generation };
}

/** Why a writer may not write. */
export function refusal(old: ModelConfig, tree: TreeConfig, revision: Revision): ConfigureReply | null {
  const { namespace, name } = old.tree.account;
  if (tree.account.namespace !== namespace || tree.account.name !== name) return { kind: 'conflict', namespace, name };
  return isFenced(old, tree, revision) ? { kind: 'fenced', revision: old.revision } : null;
}

function isFenced(old: ModelConfig, tree: TreeConfig, revision: Revision): boolean {
  const order = ({ leaseCreatedMs, transitions, generation }: Revision): readonly number[] => [
    leaseCreatedMs,
    transitions,
    generation,
  ];
  const stored = order(old.revision);
  const difference = order(revision).map((part, index) => part - (stored[index] ?? 0));
  const first = difference.find((part) => part !== 0);
  return first === undefined ? JSON.stringify(tree) !== JSON.stringify(old.tree) : first < 0;
}

/** Nodes that are new, stand elsewhere or have other limits; of calendars only their names count. */
export function changedNodes(old: TreeConfig | null, tree: TreeConfig): readonly NodeConfig[] {
  const before = new Set(old ? described(old).values() : []);
  const after = described(tree);
  return tree.nodes.filter(({ name }) => !before.has(after.get(name) ?? ''));
}

function described(tree: TreeConfig): ReadonlyMap<NodeName, string> {
  const nodes = new Map<NodeName, NodeConfig>(tree.nodes.map((node) => [node.name, node]));
  const text = (node: NodeConfig): string =>
    JSON.stringify([node, ancestry(node, nodes).map(({ name }) => name)], (key, value: unknown) =>
      key === 'boundariesMs' ? null : value,
    );
  return new Map(tree.nodes.map((node) => [node.name, text(node)]));
}

export function calendarsOf(tree: TreeConfig): ReadonlyMap<string, readonly number[]> {
  const windows = tree.nodes.flatMap(({ limits }) => limits.map(({ window }) => window));
  return new Map(
    windows.flatMap((window) =>
      window.type === 'Calendar' ? [[`${window.period} ${window.timeZone}`, window.boundariesMs] as const] : [],
    ),
  );
}

function pathsOf(tree: TreeConfig): string {
  const nodes = new Map<NodeName, NodeConfig>(tree.nodes.map((node) => [node.name, node]));
  const paths = tree.nodes.map((node) => ancestry(node, nodes).map(({ name }) => name));
  return JSON.stringify(paths.toSorted((a, b) => ((a[0] ?? '') < (b[0] ?? '') ? -1 : 1)));
}
