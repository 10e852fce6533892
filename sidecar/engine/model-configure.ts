/** Reference model: what a new configuration does to counters that run (rules W4, N4). Pure. */
import { boundsOf } from './model-adaptive.ts';
import { AnchoredWindow, saturate, type SharedWindow } from './model-anchored.ts';
import { rollGuarantors } from './model-limits.ts';
import { roll, totalOf, type ModelNode, type ModelWindow, type World } from './model-node.ts';
import { intervalOf } from './model-pace.ts';
import { calendarsOf, changedNodes, nextConfig } from './model-revision.ts';
import type { ModelTree } from './model-tree.ts';
import type { Checkpoint } from './port.ts';
import { ancestry, windowKey } from './tree.ts';
import type { LimitConfig, NodeConfig, Revision, TreeConfig } from './tree-terms.ts';

/** The tree is as configured from here on; whoever is parked is looked at, for anything may have changed. */
export function adopt(
  tree: ModelTree,
  config: TreeConfig,
  { revision, remembered }: { readonly revision: Revision; readonly remembered: Checkpoint | null },
): void {
  const old = tree.config?.tree ?? null;
  tree.config = nextConfig(tree.config, config, revision);
  tree.calendars = calendarsOf(config);
  tree.configs = new Map(config.nodes.map((node) => [node.name, node]));
  const before = new Map(old?.nodes.map((node) => [node.name, node]));
  for (const node of changedNodes(old, config))
    adoptNode(tree.node(node.name), { old: before.get(node.name) ?? null, config: node }, tree);
  if (remembered !== null) remember(tree, remembered);
  if (guaranteesAny(old) || guaranteesAny(config)) rollAll(tree);
  if (old && routesOf(old) !== routesOf(config)) tree.room.releaseAll();
  else tree.room.wakeAll();
}

/** What a checkpoint says was used before the memory was lost (rule F3). */
function remember(tree: ModelTree, { usage, learnt }: Checkpoint): void {
  for (const { node: name, limit: limitName, used, anchorMs, anchorLoMs = anchorMs } of usage) {
    const limit = tree.configs.get(name)?.limits.find((each) => each.name === limitName);
    if (!limit) continue;
    const node = tree.node(name);
    const window = node.window(limit, tree);
    const isClosed = window instanceof AnchoredWindow && window.periods.length === 0;
    const opened = anchorLoMs === null ? null : { loMs: anchorLoMs, hiMs: anchorMs };
    if (isClosed && opened) window.openAt(opened.loMs, opened.hiMs, tree.now.wallMs);
    if (used > 0) seed(node, limit, { used, opened }, tree);
  }
  for (const each of learnt) {
    const config = tree.configs.get(each.node);
    if (config) rememberNode(tree.node(each.node), config, each, tree);
  }
}

/** How far a node's rate was used ahead, and how many calls in flight the vendor bears. */
function rememberNode(
  node: ModelNode,
  config: NodeConfig,
  { rateUntilMs, concurrency }: Checkpoint['learnt'][number],
  { now, logicalUs }: World,
): void {
  const adaptive = concurrency === null ? null : node.adaptive(config, now);
  const bounds = boundsOf(config);
  if (adaptive && bounds && concurrency !== null)
    adaptive.limit = Math.max(bounds.min, Math.min(concurrency, bounds.max));
  const intervalUs = intervalOf(config, node.learnt.pace, now);
  const waitUs = ((rateUntilMs ?? 0) - now.wallMs) * 1000;
  if (!config.rate || waitUs <= 0) return;
  const tatUs = logicalUs + Math.min(waitUs, config.rate.burst * intervalUs);
  const before = node.rate ?? { tatUs: 0, lastUs: 0, grants: 0 };
  node.rate = { ...before, tatUs: Math.max(before.tatUs, tatUs), intervalUs };
}

/** Everything that decides on which nodes calls are counted. */
function routesOf({ nodes }: TreeConfig): string {
  const configs = new Map(nodes.map((node) => [node.name, node]));
  const routes = nodes.map((node) => [ancestry(node, configs).map(({ name }) => name), node.scope]);
  return JSON.stringify(routes.toSorted((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1)));
}

const guaranteesAny = (config: TreeConfig | null): boolean =>
  config?.nodes.some(({ limits }) => limits.some(({ guaranteed }) => guaranteed !== undefined)) ?? false;

/** Promises are counted anew, in windows as they are now. */
function rollAll(tree: ModelTree): void {
  for (const { name, limits } of tree.configs.values()) {
    const node = tree.node(name);
    for (const limit of limits) if (node.windows.has(windowKey(limit))) node.window(limit, tree);
    rollGuarantors(name, tree);
  }
}

/** Forgets nodes that are gone and of which nothing is left. */
export function bury(tree: ModelTree): void {
  for (const [name, node] of tree.nodes) {
    if (tree.configs.has(name)) continue;
    const running = forgetEnded(node, new Set(), tree);
    if (node.inFlight.size === 0 && !running && (node.rate?.tatUs ?? 0) <= tree.logicalUs) tree.bury(name);
  }
}

interface Change {
  /** Window keys of the node's limits until now; null: it had no configuration, any of its windows may be meant. */
  readonly before: ReadonlySet<string> | null;
  readonly config: NodeConfig;
}

/** `old`: the node's configuration until now, null if it had none. */
function adoptNode(
  node: ModelNode,
  { old, config }: { readonly old: NodeConfig | null; readonly config: NodeConfig },
  world: World,
): void {
  rescaleRate(node, config, world);
  keepLearnt(node, config);
  for (const limit of config.limits) {
    const key = windowKey(limit);
    if (node.windows.has(key)) node.amounts.set(key, limit.amount);
  }
  const before = old && new Set(old.limits.map(windowKey));
  const added = config.limits.filter((limit) => !before?.has(windowKey(limit)));
  const seeds = added.map((limit) => ({ limit, used: inheritedUse(node, limit, { before, config }, world) }));
  for (const { limit, used } of seeds) if (used > 0) seed(node, limit, { used, opened: null }, world);
  forgetEnded(node, new Set(config.limits.map(windowKey)), world);
}

/** Forgets windows that ended and are not in `configured`. True: something is left. */
function forgetEnded(node: ModelNode, configured: ReadonlySet<string>, world: World): boolean {
  for (const [key, window] of node.windows) {
    if (!configured.has(key) && hasEnded(window, key, world)) node.windows.delete(key);
  }
  return node.windows.size > 0;
}

function hasEnded(window: ModelWindow, key: string, world: World): boolean {
  roll(window, key.split('|')[3] ?? '', world);
  return window.kind === 'meter' ? window.total === 0 : window.periods.length === 0;
}

/** The wait for a token shrinks or grows with the interval in use. */
function rescaleRate(node: ModelNode, config: NodeConfig, { now, logicalUs }: World): void {
  const { rate, learnt } = node;
  const intervalUs = intervalOf(config, learnt.pace, now);
  if (!config.rate || !rate || rate.intervalUs === intervalUs) return;
  if (rate.tatUs > logicalUs)
    rate.tatUs = logicalUs + Math.ceil(((rate.tatUs - logicalUs) / rate.intervalUs) * intervalUs);
  rate.intervalUs = intervalUs;
}

/** What was learnt stays within the new bounds, or goes with what it was learnt for. */
function keepLearnt({ learnt }: ModelNode, config: NodeConfig): void {
  const bounds = boundsOf(config);
  if (!bounds) learnt.adaptive = null;
  if (bounds && learnt.adaptive)
    learnt.adaptive.limit = Math.max(bounds.min, Math.min(learnt.adaptive.limit, bounds.max));
  if (!config.breaker) learnt.breaker = null;
}

/** The largest used fraction of the windows this limit may have been before it changed its identity just now. */
function inheritedUse(node: ModelNode, limit: LimitConfig, change: Change, world: World): number {
  let most = 0;
  for (const [key, window] of node.windows) {
    const oldAmount = node.amounts.get(key);
    if (oldAmount === undefined || !mayHaveBeen(key, limit, change)) continue;
    roll(window, key.split('|')[3] ?? '', world);
    most = Math.max(most, scaled(totalOf(window, 'fullest'), oldAmount, limit.amount));
  }
  return most;
}

/** `key` was configured until now and is no longer, and has the limit's name, or all else as the limit has it. */
function mayHaveBeen(key: string, limit: LimitConfig, { before, config }: Change): boolean {
  const keys = config.limits.map(windowKey);
  const gone = !keys.includes(key) && (before === null || before.has(key));
  const tailOf = (of: string): string => of.slice(of.indexOf('|'));
  const [oldName] = key.split('|');
  if (oldName === limit.name) return gone;
  return gone && tailOf(key) === tailOf(windowKey(limit)) && config.limits.every(({ name }) => name !== oldName);
}

function scaled(used: number, oldAmount: number, amount: number): number {
  if (used === 0) return 0;
  if (oldAmount === 0) return amount;
  return oldAmount === amount ? used : saturate(Math.ceil((used / oldAmount) * amount));
}

interface Seed {
  readonly used: number;
  /** When the window of its owner opened; null: that is not known. */
  readonly opened: Opening | null;
}

/** Not before `loMs`, and by `hiMs`; null: by now. */
interface Opening {
  readonly loMs: number;
  readonly hiMs: number | null;
}

function seed(node: ModelNode, limit: LimitConfig, { used, opened }: Seed, world: World): void {
  const window = node.window(limit, world);
  node.amounts.set(windowKey(limit), limit.amount);
  if (window.kind === 'meter') {
    if (used > window.total) window.land(used - window.total, world.now);
  } else if (window instanceof AnchoredWindow) {
    window.seed(used, world.now.wallMs);
  } else {
    openOwner(window, limit, opened, world);
    window.seed(used);
  }
}

function openOwner(window: SharedWindow, limit: LimitConfig, opened: Opening | null, world: World): void {
  const { windowOwner, ...own } = limit;
  if (windowOwner === undefined || limit.window.type === 'Calendar') return;
  const owner = world.node(windowOwner);
  const { wallMs } = world.now;
  const { loMs, hiMs } = opened ?? { loMs: wallMs, hiMs: wallMs };
  if (!window.timeline) owner.windows.set(windowKey(own), new AnchoredWindow(limit.window.durationMs));
  if (window.periods.length === 0) window.timeline?.openAt(loMs, hiMs, wallMs);
}
