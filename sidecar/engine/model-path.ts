/** Reference model: which nodes a call is counted on (rule W1), its class and its share. Pure. */
import { ENGINE_CONSTANTS } from './constants.ts';
import { ancestry } from './tree.ts';
import { type AcquireRequest, type Attributes } from './terms.ts';
import {
  PRIORITY_CLASSES,
  type NodeConfig,
  type NodeName,
  type PriorityClass,
  type ScopeConfig,
} from './tree-terms.ts';

export type Configs = ReadonlyMap<NodeName, NodeConfig>;

/** What decides where a call is counted. */
export type Routed = Pick<AcquireRequest, 'leaf' | 'model' | 'attributes'>;

export const ATTRIBUTES = ['tool', 'capability', 'source', 'user', 'pool', 'namespace'] as const;

/** Shares of a full node (rule Q8). */
const CLASS_WEIGHTS: Record<PriorityClass, number> = { System: 8, High: 4, Normal: 2, Low: 1 };

/** Leaf to account, then the model's node, then the scope nodes that match, in config order. Null: no such leaf. */
export function pathOf(call: Routed, configs: Configs): readonly NodeConfig[] | null {
  const leaf = configs.get(call.leaf);
  if (!leaf || leaf.scope) return null;
  const model = configs.get(`model:${call.model}`) ?? configs.get('model:other');
  const path = [...ancestry(leaf, configs), ...(model ? [model] : [])];
  for (const node of configs.values()) {
    if (node.scope && path.some(({ name }) => name === node.parent) && matches(node.scope, call)) path.push(node);
  }
  return path;
}

function matches(scope: ScopeConfig, { model, attributes }: Routed): boolean {
  const lists: Record<keyof Attributes, readonly string[]> = {
    tool: scope.tools,
    capability: scope.capabilities,
    source: scope.sources,
    user: scope.users,
    pool: scope.pools,
    namespace: scope.namespaces,
  };
  const holds = (list: readonly string[], value: string | undefined): boolean =>
    list.length === 0 || (value ? list.includes(value) : scope.unset === 'Match');
  return holds(scope.models, model) && ATTRIBUTES.every((name) => holds(lists[name], attributes[name]));
}

/** The lower of what is asked for and what the leaf's own path allows. */
export function classOf({ leaf, class: asked }: AcquireRequest, configs: Configs): PriorityClass {
  const own = configs.get(leaf);
  const ceilings = own ? ancestry(own, configs).map(({ maxClass }) => maxClass) : [];
  const lowest = Math.max(...[asked, ...ceilings].map((each) => PRIORITY_CLASSES.indexOf(each)));
  return PRIORITY_CLASSES[lowest] ?? asked;
}

/** What one grant costs a flow: the less, the greater its share. */
export function costOf(leaf: NodeName, priority: PriorityClass, configs: Configs): number {
  const own = configs.get(leaf);
  const path = own ? ancestry(own, configs) : [];
  const weight = path.reduce(
    (product, each) => Math.min(ENGINE_CONSTANTS.MAX_WEIGHT, product * each.weight),
    CLASS_WEIGHTS[priority],
  );
  return Math.floor(ENGINE_CONSTANTS.TAG_SCALE / weight);
}
