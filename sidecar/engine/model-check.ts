/** Reference model: everything that speaks against a call on its path. Pure. */
import { AppError } from '../base/errors.ts';
import { checkAdaptive } from './model-adaptive.ts';
import { checkLimit } from './model-limits.ts';
import { amountOf, type World } from './model-node.ts';
import { intervalOf } from './model-pace.ts';
import { type AcquireRequest, type Denied, type DenyReason } from './terms.ts';
import { PRIORITY_CLASSES, type NodeConfig, type NodeName, type PriorityClass, type StopConfig } from './tree-terms.ts';

export interface Failing {
  readonly reason: DenyReason;
  readonly node: NodeName;
  readonly limit: string;
  readonly used: number;
  readonly amount: number;
  /** Wall time at which it may be over. */
  readonly retryMs: number | null;
  /** Logical time at which to look again. */
  readonly timerMs: number | null;
  /** It will not pass by waiting for what is in flight. */
  readonly usedUp: boolean;
  /** It will not pass at all. */
  readonly never: boolean;
  /** Holds every call at this node, of every class and size. */
  readonly everybody: boolean;
  /** The bottleneck X at which its waiters are parked. */
  readonly x: string;
}

/** A call, as checks see it. */
export interface Asking {
  readonly request: AcquireRequest;
  readonly class: PriorityClass;
  /** The sub-queue it is the head of. */
  readonly headOf: string | null;
}

/** What the waiting room has a say in. */
export interface CheckWorld extends World {
  /** Logical time until which nothing is granted (rule T7); null: nothing was lost. */
  readonly learningUntilMs: number | null;
  /** Nobody but the head of this sub-queue takes of that bottleneck (rule Q5). */
  readonly guard: { readonly x: string; readonly sub: string } | null;
  /** The tree's last grant was of class System, and another class is to be served. */
  readonly othersTurn: boolean;
}

export const windowX = (node: NodeName, limit: string): string => `${node}|${limit}`;
export const SYSTEM_X = windowX('account', 'system');

export function failing(reason: DenyReason, node: NodeName, limit: string, rest: Partial<Failing> = {}): Failing {
  const plain = { used: 0, amount: 0, retryMs: null, timerMs: null, usedUp: false, never: false, everybody: false };
  return { reason, node, limit, x: node, ...plain, ...rest };
}

/** All that fails, in path order; empty: it fits. */
export function checkPath(path: readonly NodeConfig[], asking: Asking, world: CheckWorld): readonly Failing[] {
  const { learningUntilMs } = world;
  const retryMs = learningUntilMs === null ? null : toWall(learningUntilMs, world);
  const learning = failing('Learning', 'account', 'learning', { retryMs, everybody: true });
  return [
    ...(learningUntilMs === null ? [] : [learning]),
    ...path.flatMap((config) => [
      ...closed(config, asking, world),
      ...(config.observe ? [] : slots(config, asking, world)),
      ...(config.observe ? [] : rate(config, world)),
      ...(config.observe ? [] : amounts(config, path, asking, world)),
      ...guarded(config, asking, world),
    ]),
  ];
}

/** What a denial tells: a stop, else what passes last; an unknown time yields to a known one. */
export function bestOf(failings: readonly Failing[]): Failing | undefined {
  const [first, ...others] = failings;
  return (
    failings.find(({ reason }) => reason === 'Stopped') ??
    others.reduce((best, each) => ((each.retryMs ?? -1) > (best?.retryMs ?? -1) ? each : best), first)
  );
}

export function denialOf({ reason, node, limit, used, amount, retryMs }: Failing, { now }: World): Denied {
  return { kind: 'denied', reason, node, limit, used, amount, retryAtMs: retryMs, serverNowMs: now.wallMs };
}

export const toWall = (logicalMs: number, { now }: World): number => logicalMs - now.logicalMs + now.wallMs;
export const toLogical = (wallMs: number, { now }: World): number => wallMs - now.wallMs + now.logicalMs;

export const isRunning = ({ fromMs, untilMs }: StopConfig, wallMs: number): boolean =>
  fromMs <= wallMs && wallMs < (untilMs ?? Infinity);

/** Stop, freeze, pause and breaker. */
function closed(config: NodeConfig, asking: Asking, world: World): readonly Failing[] {
  const { name, breaker: hasBreaker } = config;
  const { wallMs, logicalMs } = world.now;
  const { frozenUntilMs, pace, breaker } = world.node(name).learnt;
  const found: Failing[] = [];
  const running = config.stops.filter((stop) => isRunning(stop, wallMs) && !stop.except.includes(asking.class));
  const [firstStop, ...others] = running;
  if (firstStop) {
    const longest = others.reduce((a, b) => ((b.untilMs ?? Infinity) > (a.untilMs ?? Infinity) ? b : a), firstStop);
    const everybody = running.some(({ except }) => except.length === 0);
    found.push(failing('Stopped', name, longest.name, { retryMs: longest.untilMs, usedUp: true, everybody }));
  }
  if (wallMs < frozenUntilMs)
    found.push(failing('Frozen', name, 'vendor', { retryMs: frozenUntilMs, usedUp: true, everybody: true }));
  if (logicalMs < pace.pausedUntilMs)
    found.push(failing('Rate', name, 'pause', { retryMs: toWall(pace.pausedUntilMs, world), everybody: true }));
  if (hasBreaker && breaker && breaker.openUntilMs > 0) {
    const open = logicalMs < breaker.openUntilMs;
    const retryMs = open ? toWall(breaker.openUntilMs, world) : null;
    if (open || breaker.probe !== null) found.push(failing('Breaker', name, 'breaker', { retryMs, everybody: true }));
  }
  return found;
}

/** Calls in flight; at the account also those of class System (rule Q8). */
function slots(config: NodeConfig, asking: Asking, world: CheckWorld): readonly Failing[] {
  const { name, concurrency } = config;
  const node = world.node(name);
  const used = node.inFlight.size;
  const adaptive = node.adaptive(config, world.now);
  const limit = adaptive ? adaptive.limit : concurrency;
  if (limit === null) return [];
  const found: Failing[] = [];
  const full = adaptive ? checkAdaptive(adaptive, used, concurrency ?? 0, world.now) : { timerMs: null };
  if (full && used >= limit)
    found.push(failing('Concurrency', name, 'concurrency', { used, amount: limit, ...full, everybody: true }));
  if (name === 'account' && asking.class === 'System') {
    const system = [...node.inFlight].filter((slot) => slot.class === 'System').length;
    const most = Math.max(1, Math.floor(limit / 2));
    if (system >= most || (limit === 1 && world.othersTurn))
      found.push(failing('Waiting', name, 'system', { used: system, amount: most, x: SYSTEM_X }));
  }
  return found;
}

function rate(config: NodeConfig, world: World): readonly Failing[] {
  const { name, rate: limit } = config;
  if (!limit) return [];
  const node = world.node(name);
  const intervalUs = intervalOf(config, node.learnt.pace, world.now);
  const opensUs = (node.rate?.tatUs ?? 0) - (limit.burst - 1) * intervalUs;
  if (world.logicalUs >= opensUs) return [];
  const retryMs = toWall(Math.ceil(opensUs / 1000), world);
  return [failing('Rate', name, 'rate', { amount: limit.burst, retryMs, everybody: true })];
}

/** The most that one call may ask, then the windows. */
function amounts(
  config: NodeConfig,
  path: readonly NodeConfig[],
  { request }: Asking,
  world: World,
): readonly Failing[] {
  const found: Failing[] = [];
  const tooMuch = config.perCall.find(({ resource, max }) => amountOf(request.reserve, resource) > max);
  if (tooMuch) {
    const used = amountOf(request.reserve, tooMuch.resource);
    const rest = { used, amount: tooMuch.max, never: true };
    found.push(failing('PerCall', config.name, `per-call ${tooMuch.resource}`, rest));
  }
  for (const limit of config.limits) {
    const asked = amountOf(request.reserve, limit.resource);
    const shortage = checkLimit({ config, limit, path }, asked, world);
    if (!shortage) continue;
    const rest = { amount: limit.amount, x: windowX(config.name, limit.name) };
    found.push(failing('Window', config.name, limit.name, { ...shortage, ...rest }));
  }
  return found;
}

function guarded(config: NodeConfig, { request, headOf }: Asking, { guard }: CheckWorld): readonly Failing[] {
  if (!guard || guard.sub === headOf) return [];
  return config.limits
    .filter(({ name, resource }) => windowX(config.name, name) === guard.x && amountOf(request.reserve, resource) > 0)
    .map(({ name }) => failing('Waiting', config.name, name, { x: guard.x }));
}

/** What a call that does not fit does next. */
export type Consequence =
  | { readonly kind: 'deny'; readonly failing: Failing }
  /** Nothing else keeps it out than what keeps out everybody, at the account; `timerMs`: when that may be over. */
  | { readonly kind: 'root'; readonly timerMs: number | null }
  | { readonly kind: 'park'; readonly failing: Failing };

export function refuseOrWait(
  failings: readonly Failing[],
  mode: AcquireRequest['wait']['mode'],
  deadlineMs: number,
  world: World,
): Consequence {
  const best = bestOf(failings);
  if (!best) throw new AppError('internal', 'nothing speaks against the call');
  const lookAgain = ({ retryMs, timerMs }: Failing): number | null =>
    timerMs ?? (retryMs === null ? null : toLogical(retryMs, world));
  const never = failings.find((each) => each.never);
  if (never) return { kind: 'deny', failing: never };
  if (mode === 'Reject') return { kind: 'deny', failing: best };
  const endless = failings.find(({ reason, retryMs }) => reason === 'Stopped' && retryMs === null);
  if (endless) return { kind: 'deny', failing: endless };
  const usedUp = bestOf(failings.filter((each) => each.usedUp));
  if (mode === 'UntilSlot' && usedUp) return { kind: 'deny', failing: usedUp };
  const tooLate = failings.some(({ retryMs }) => retryMs !== null && toLogical(retryMs, world) > deadlineMs);
  if (tooLate) return { kind: 'deny', failing: best };
  const root = failings.filter(({ node, everybody }) => node === 'account' && everybody);
  const others = failings.filter((each) => !root.includes(each) && each.x !== SYSTEM_X);
  const elsewhere = root.length > 0 ? bestOf(others) : best;
  if (elsewhere) return { kind: 'park', failing: { ...elsewhere, timerMs: lookAgain(elsewhere) } };
  const times = root.map(lookAgain).filter((at) => at !== null);
  return { kind: 'root', timerMs: times.length === 0 ? null : Math.min(...times) };
}

/** Whether some class is held at the node. */
export const isStopped = (stops: readonly StopConfig[], wallMs: number): boolean =>
  PRIORITY_CLASSES.some((each) => stops.some((stop) => isRunning(stop, wallMs) && !stop.except.includes(each)));
