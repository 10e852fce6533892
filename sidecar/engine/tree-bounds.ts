/** What a tree may be. Everything the Lua relies on is checked here, before anything is written. */
import { AppError } from '../base/errors.ts';
import {
  MAX_AMOUNT,
  type LimitConfig,
  type NodeConfig,
  type NodeName,
  type ScopeConfig,
  type TreeConfig,
  type Window,
} from './tree-terms.ts';

const MAX_NODES = 10_000;
const MAX_DEPTH = 16;
const MAX_LIMITS = 32;
const MAX_NAME = 600;
const MAX_CONCURRENCY = 1_000_000;
const MAX_INTERVAL_US = 86_400_000_000;
/** Sums of microseconds since the epoch and a full burst stay below 2^53. */
const MAX_BURST_US = 2 ** 52;
const MIN_DURATION_MS = 1000;
const MAX_DURATION_MS = 400 * 86_400_000;
const MAX_BOUNDARIES = 400;
const MAX_NODE_WEIGHT = 1000;
const MAX_QUEUE = 1_000_000;
const MAX_STOPS = 256;
const MAX_SCOPE_VALUES = 256;
const MAX_BOUNDARY_MS = 10 ** 14 - 1;

/** Fails with code `invalid` naming the first thing that is out of bounds. */
export function validateTree(tree: TreeConfig): void {
  for (const text of Object.values(tree.account)) checkText(text, 'account');
  if (tree.nodes.length > MAX_NODES) refuse(`a tree has at most ${MAX_NODES} nodes, not ${tree.nodes.length}`);
  const seen = new Map<NodeName, Known>();
  const calendars = new Map<string, string>();
  for (const node of tree.nodes) {
    checkNode(node, seen, calendars);
  }
  if (!seen.has('account')) refuse('a tree starts with the node `account`');
}

interface Known {
  readonly node: NodeConfig;
  readonly ancestors: readonly NodeConfig[];
}

function checkNode(node: NodeConfig, seen: Map<NodeName, Known>, calendars: Map<string, string>): void {
  checkText(node.name, 'node name');
  if (seen.has(node.name)) refuse(`node ${node.name} is there twice`);
  const ancestors = ancestorsOf(node, seen);
  if (node.concurrency !== null) checkInteger(node.concurrency, 0, MAX_CONCURRENCY, `${node.name} concurrency`);
  checkRate(node);
  checkRules(node);
  if (node.limits.length > MAX_LIMITS) refuse(`${node.name} has more than ${MAX_LIMITS} limits`);
  const names = new Set<string>();
  for (const limit of node.limits) {
    const where = `${node.name} limit ${limit.name}`;
    checkText(limit.name, `${node.name} limit name`);
    if (names.has(limit.name)) refuse(`${where} is there twice`);
    names.add(limit.name);
    checkInteger(limit.amount, 0, MAX_AMOUNT, `${where} amount`);
    checkWindow(limit.window, where, calendars);
    if (limit.guaranteed !== undefined) checkGuaranteed(limit, { node, ancestors, where });
    if (limit.windowOwner !== undefined) checkOwner(limit, limit.windowOwner, { ancestors, where });
  }
  seen.set(node.name, { node, ancestors });
}

function ancestorsOf(node: NodeConfig, seen: ReadonlyMap<NodeName, Known>): readonly NodeConfig[] {
  if (node.parent === null) {
    if (node.name !== 'account') refuse(`${node.name} has no parent; only \`account\` has none`);
    return [];
  }
  const parent = seen.get(node.parent);
  if (!parent) return refuse(`${node.name} stands before its parent ${node.parent}, or that does not exist`);
  if (node.name.startsWith('model:') && node.parent !== 'account') refuse(`${node.name} must hang under \`account\``);
  const ancestors = [parent.node, ...parent.ancestors];
  if (parent.node.scope !== null && node.scope === null)
    refuse(`${node.name} hangs under the scope node ${node.parent}`);
  if (ancestors.length >= MAX_DEPTH) refuse(`${node.name} is deeper than ${MAX_DEPTH} levels`);
  return ancestors;
}

function checkRate({ name, rate }: NodeConfig): void {
  if (rate === null) return;
  checkInteger(rate.intervalUs, 1, MAX_INTERVAL_US, `${name} rate interval`);
  checkInteger(rate.burst, 1, Math.floor(MAX_BURST_US / rate.intervalUs), `${name} rate burst`);
}

/** Everything of a node but its limits and its rate. */
function checkRules(node: NodeConfig): void {
  const { name, adaptive, concurrency, perCall, stops, scope, weight, maxQueue, breaker, thresholds } = node;
  checkInteger(weight, 1, MAX_NODE_WEIGHT, `${name} weight`);
  if (maxQueue !== null) checkInteger(maxQueue, 0, MAX_QUEUE, `${name} longest queue`);
  if (adaptive !== null) {
    if (concurrency === null) refuse(`${name} is adaptive without a largest concurrency`);
    checkInteger(adaptive.min, 1, concurrency ?? 0, `${name} smallest concurrency`);
    checkInteger(adaptive.start, 1, MAX_CONCURRENCY, `${name} first concurrency`);
  }
  if (breaker !== null) {
    checkInteger(breaker.failureRatePercent, 1, 100, `${name} breaker rate`);
    checkInteger(breaker.minimumCalls, 1, MAX_CONCURRENCY, `${name} breaker calls`);
    checkInteger(breaker.openForMs, 1, MAX_DURATION_MS, `${name} breaker time`);
  }
  for (const { max } of perCall) checkInteger(max, 0, MAX_AMOUNT, `${name} per-call amount`);
  for (const percent of thresholds) checkInteger(percent, 1, 100, `${name} threshold`);
  if (stops.length > MAX_STOPS) refuse(`${name} has more than ${MAX_STOPS} stops`);
  for (const { name: stop, fromMs, untilMs } of stops) {
    checkText(stop, `${name} stop`);
    checkInteger(fromMs, 0, MAX_BOUNDARY_MS, `${name} stop ${stop} begin`);
    if (untilMs !== null) checkInteger(untilMs, 0, MAX_BOUNDARY_MS, `${name} stop ${stop} end`);
  }
  if (scope !== null) checkScope(name, scope);
}

function checkScope(name: NodeName, { unset: _unset, ...lists }: ScopeConfig): void {
  for (const [list, values] of Object.entries(lists)) {
    if (values.length > MAX_SCOPE_VALUES) refuse(`${name} matches more than ${MAX_SCOPE_VALUES} ${list}`);
    for (const value of values) checkText(value, `${name} ${list}`);
  }
}

/** What is kept free of siblings is a part of the nearest ancestor's limit of that name, in a window that does not slide. */
function checkGuaranteed(
  { name, guaranteed = 0, window }: LimitConfig,
  {
    node,
    ancestors,
    where,
  }: { readonly node: NodeConfig; readonly ancestors: readonly NodeConfig[]; readonly where: string },
): void {
  checkInteger(guaranteed, 0, MAX_AMOUNT, `${where} guaranteed`);
  if (node.scope !== null) refuse(`${where}: a scope node has no guarantee`);
  if (window.type === 'Sliding') refuse(`${where}: a sliding window has no guarantee`);
  const above = ancestors.flatMap(({ limits }) => limits.filter((limit) => limit.name === name));
  const [nearest] = above;
  if (!nearest || !sameWindow(nearest.window, window))
    refuse(`${where}: nothing above has that window to guarantee a part of`);
}

function checkWindow(window: Window, where: string, calendars: Map<string, string>): void {
  if (window.type !== 'Calendar') {
    checkInteger(window.durationMs, MIN_DURATION_MS, MAX_DURATION_MS, `${where} duration`);
    return;
  }
  checkText(window.timeZone, `${where} time zone`);
  const { boundariesMs } = window;
  checkInteger(boundariesMs.length, 1, MAX_BOUNDARIES, `${where} number of boundaries`);
  boundariesMs.forEach((ms, index) => {
    checkInteger(ms, 0, MAX_BOUNDARY_MS, `${where} boundary`);
    if (index > 0 && ms <= (boundariesMs[index - 1] ?? 0)) refuse(`${where} boundaries do not ascend`);
  });
  const calendar = `${window.period} ${window.timeZone}`;
  const text = boundariesMs.join();
  if ((calendars.get(calendar) ?? text) !== text) refuse(`${where}: two different calendars ${calendar}`);
  calendars.set(calendar, text);
}

function checkOwner(
  limit: LimitConfig,
  ownerName: NodeName,
  { ancestors, where }: { readonly ancestors: readonly NodeConfig[]; readonly where: string },
): void {
  const owner = ancestors.find(({ name }) => name === ownerName);
  const owned = owner?.limits.find(({ name }) => name === limit.name);
  if (!owned || owned.windowOwner !== undefined)
    return refuse(`${where}: ${ownerName} is no ancestor that owns a window of that name`);
  const same = owned.resource === limit.resource && sameWindow(owned.window, limit.window);
  if (!same) refuse(`${where}: another resource or window than on ${ownerName}`);
}

function sameWindow(a: Window, b: Window): boolean {
  if (a.type === 'Calendar') return b.type === 'Calendar' && a.period === b.period && a.timeZone === b.timeZone;
  return b.type === a.type && a.durationMs === b.durationMs;
}

function checkText(text: string, what: string): void {
  if (text === '' || text.length > MAX_NAME || /[|\p{Cc}]/u.test(text))
    refuse(`${what} is empty, longer than ${MAX_NAME}, or holds | or control characters: ${text.slice(0, 64)}`);
}

function checkInteger(value: number, min: number, max: number, what: string): void {
  if (!Number.isSafeInteger(value) || value < min || value > max)
    refuse(`${what} must be an integer from ${min} to ${max}, not ${value}`);
}

function refuse(message: string): never {
  throw new AppError('invalid', message);
}
