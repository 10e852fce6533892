/** One run: a world from a seed, faults by plan, a calm after them, an end, and what the oracles say. */
import { drawFrom } from '#sidecar/base/ids.ts';
import { Model } from '#sidecar/engine/model.ts';
import type { LeaseEngine } from '#sidecar/leases/metered-engine.ts';
import type { Habits } from './agent.ts';
import { auditOften } from './audit.ts';
import { Books } from './books.ts';
import { judge } from './judge.ts';
import { inTurn, type Fault } from './faults.ts';
import { Operator } from './operator.ts';
import { DRIFT, type Machine } from './party.ts';
import { Random } from './random.ts';
import { Schedule } from './schedule.ts';
import { Sidecar } from './sidecar.ts';
import { Store } from './store.ts';
import { Trace } from './trace.ts';
import { pathIn, type Binding, type Shape } from './tree.ts';
import { Vendor, type HiddenLimits } from './vendor.ts';
import { Waits } from './waits.ts';
import { Watch } from './watch.ts';

/** What a class of runs has in common. */
export interface Scenario {
  readonly sidecars: number;
  readonly shape: (random: Random) => Shape;
  readonly habits?: (random: Random) => Partial<Habits>;
  readonly binding?: Partial<Binding>;
  readonly hidden?: (random: Random) => HiddenLimits;
  readonly faults: (random: Random, sidecars: number) => readonly Fault[];
  readonly promises: Promises;
}

/** What must hold, besides what always must. */
export interface Promises {
  /** At no moment more calls in flight at a node than so many times its limit. */
  readonly timesLimit: 1 | 2;
  /** Redis may forget things: then windows and charges may be short of what was forgotten. */
  readonly forgets?: boolean;
  /** Calls may be started without Redis: so many more at a node. */
  readonly localStarts?: number;
  /** Refusals of the vendor for 100 calls it accepted, and so many each time its limits have to be learnt. */
  readonly refused?: { readonly percent: number; readonly learning: number };
}

export interface RunOptions {
  readonly seed: number;
  /** Places in the plan; null: all of it. */
  readonly only: readonly number[] | null;
  readonly aloud: boolean;
  /** Breaks something on purpose, to see whether it is noticed. */
  readonly sabotage?: Sabotage;
}

export interface Sabotage {
  /** Of each Redis. */
  readonly model?: (model: Model) => void;
  /** Of each sidecar. */
  readonly engine?: (engine: LeaseEngine) => LeaseEngine;
}

export interface Violation {
  readonly rule: string;
  readonly numbers: string;
}

export interface Report {
  readonly violation: Violation | null;
  readonly faults: readonly Fault[];
  readonly trace: Trace;
  readonly events: number;
  readonly stats: Readonly<Record<string, number | string>>;
}

/** Everything of one run. */
export interface Stage {
  readonly scenario: Scenario;
  readonly schedule: Schedule;
  readonly trace: Trace;
  readonly store: Store;
  readonly vendor: Vendor;
  readonly watch: Watch;
  readonly waits: Waits;
  readonly books: Books;
  readonly sidecars: readonly Sidecar[];
  readonly operator: Operator;
  readonly violated: (rule: string, numbers: string) => void;
}

const HABITS: Habits = { thinkMs: 1500, callMs: 2500, longestMs: 20_000, leaves: 0.1, longestWaitMs: 25_000 };
/** Faults begin after the first and before the second. */
export const FAULTS_MS = { from: 5000, to: 60_000 };
/** A lifetime, an interval between beats, a Redis that is looked for, and one second more (inv-L6). */
const HEALED_MS = 15_000 + 5500 + 6000 + 1000;
const CALM_MS = HEALED_MS + 20_000;
/** Longest patience, longest call, and repeated tries of it. */
const ENDING_MS = 90_000;
/** Until the last lease has expired. */
const AFTERMATH_MS = 50_000;
/** No slot stays free longer while somebody waits: a cut call is held for two seconds. */
const PROMPT_MS = { undisturbed: 3000, healed: 6000 };

export async function run(scenario: Scenario, options: RunOptions): Promise<Report> {
  const random = new Random(`run ${options.seed}`);
  const ids = random.fork('ids');
  using _ids = drawFrom((count) => ids.bytes(count));
  const schedule = new Schedule();
  const trace = new Trace(schedule, options.aloud);
  let violation: Violation | null = null;
  const violated = (rule: string, numbers: string): void => {
    violation ??= { rule, numbers };
    schedule.isHalted = true;
    trace.note('oracle', `${rule}: ${numbers}`);
  };
  const onRejection = (reason: unknown): void => violated('unhandled rejection', String(reason));
  process.on('unhandledRejection', onRejection);
  const plan = inTurn(scenario.faults(random.fork('faults'), scenario.sidecars));
  const faults = plan.filter((_, index) => options.only?.includes(index) ?? true);
  const stage = setUp(scenario, { schedule, trace, random, violated, sabotage: options.sabotage ?? {} });
  try {
    await play(stage, faults);
  } catch (error) {
    violated('the run broke', error instanceof Error ? (error.stack ?? error.message) : String(error));
  } finally {
    process.off('unhandledRejection', onRejection);
  }
  return { violation, faults: plan, trace, events: schedule.events, stats: statsOf(stage) };
}

interface Base {
  readonly schedule: Schedule;
  readonly trace: Trace;
  readonly random: Random;
  readonly violated: (rule: string, numbers: string) => void;
  readonly sabotage: Sabotage;
}

function setUp(scenario: Scenario, { schedule, trace, random, violated, sabotage }: Base): Stage {
  const sidecars: Sidecar[] = [];
  const reachOf = (name: string): Sidecar['reach'] => sidecars.find((each) => each.name === name)!.reach;
  const watch: Watch = new Watch({ schedule, violated, reachOf, servers: () => store.servers });
  const store: Store = new Store({
    schedule,
    trace,
    random: random.fork('store'),
    machine: (name) => machineOf(random.fork(name)),
    newModel: () => {
      const model = new Model();
      sabotage.model?.(model);
      return model;
    },
    onStep: (byMs) => watch.stepped(byMs),
    onGrant: (grant, server) => watch.granted(grant, server),
  });
  const waits = new Waits({ schedule, watch, violated });
  const vendor = new Vendor(schedule, random.fork('vendor'));
  Object.assign(vendor.hidden, scenario.hidden?.(random.fork('hidden')) ?? {});
  const books = new Books(schedule);
  const habits = { ...HABITS, ...scenario.habits?.(random.fork('habits')) };
  const shape = scenario.shape(random.fork('shape'));
  const operator = new Operator(
    {
      schedule,
      store,
      trace,
      sidecars,
      random: random.fork('operator'),
      binding: scenario.binding ?? {},
      machine: machineOf(random.fork('operator/machine')),
      onFreeze: (node, untilMs) => watch.closed(node, untilMs),
    },
    shape,
  );
  const wrap = sabotage.engine ?? ((engine: LeaseEngine) => engine);
  const common = { schedule, store, trace, vendor, watch, books, habits, asks: waits, wrap };
  for (let index = 0; index < scenario.sidecars; index++) {
    const name = `pod-${index + 1}`;
    const own = random.fork(name);
    const agents = own.int(1, 4);
    const nodesOf = (model: string): readonly string[] =>
      pathIn(operator.tree.nodes, sidecar.snapshots.value?.binding.leaf ?? '', model).map((node) => node.name);
    const sidecar: Sidecar = new Sidecar({ ...common, name, agents, random: own, machine: machineOf(own), nodesOf });
    sidecars.push(sidecar);
  }
  return { scenario, schedule, trace, store, vendor, watch, waits, books, sidecars, operator, violated };
}

function machineOf(random: Random): Machine {
  return { skewMs: random.between(-2000, 2000), pace: 1 + random.between(-DRIFT, DRIFT) };
}

async function play(stage: Stage, faults: readonly Fault[]): Promise<void> {
  const { schedule, trace, sidecars, operator, waits } = stage;
  waits.start(sidecars, operator);
  operator.start();
  await schedule.runUntil(1);
  for (const sidecar of sidecars) sidecar.boot();
  const isRoomy = hasOnlySlots(operator.shape);
  auditOften(stage);
  if (isRoomy && faults.length === 0) waits.expectWork(PROMPT_MS.undisturbed);
  for (const each of faults) {
    const { atMs, lastsMs, target, what } = each;
    schedule.at(atMs, () => {
      trace.fault(target, `${what}, for ${lastsMs.toFixed(0)} ms`);
      each.begin(stage);
    });
    schedule.at(atMs + lastsMs, () => {
      if (lastsMs > 0) trace.fault(target, `no longer: ${what}`);
      each.end(stage);
    });
  }
  const healedMs = Math.max(FAULTS_MS.to, ...faults.map(({ atMs, lastsMs }) => atMs + lastsMs));
  await schedule.runUntil(healedMs + HEALED_MS);
  if (isRoomy && faults.length > 0) waits.expectWork(PROMPT_MS.healed);
  await schedule.runUntil(healedMs + CALM_MS);
  waits.expectWork(null);
  await end(stage);
  judge(stage);
}

function hasOnlySlots({ windowAmount, slidingAmount, intervalMs, adaptive }: Shape): boolean {
  return windowAmount === null && slidingAmount === null && intervalMs === null && !adaptive;
}

/** No more calls; then processes end, and nothing of them may be left. */
async function end({ schedule, sidecars, waits, violated }: Stage): Promise<void> {
  let ended = 0;
  for (const sidecar of sidecars) void sidecar.finish().then(() => (ended += 1));
  await schedule.runUntil(schedule.nowMs + ENDING_MS);
  const [ask] = waits.outstanding;
  if (ask !== undefined) violated('inv-L4 never answered', JSON.stringify(ask));
  if (ended < sidecars.length) violated('inv-L4 calls that never end', `${sidecars.length - ended} pods`);
  let closed = 0;
  for (const sidecar of sidecars) void sidecar.shutDown().then(() => (closed += 1));
  await schedule.runUntil(schedule.nowMs + 5000);
  if (closed < sidecars.length) violated('a sidecar does not shut down', `${sidecars.length - closed} pods`);
  const sleeping = sidecars.map(({ party }) => party?.sleeping ?? 0);
  if (sleeping.some((count) => count > 0)) violated('timers are left', sleeping.join(', '));
  await schedule.runUntil(schedule.nowMs + AFTERMATH_MS);
}

function statsOf({ schedule, watch, vendor, waits, store }: Stage): Report['stats'] {
  const endings = [...waits.endings].map(([how, count]) => `${how}: ${count}`).join(', ');
  const operations = store.master.log.length;
  const late = Math.round(waits.longestLateMs);
  const most = [...watch.most].map(([node, count]) => `${node} ${count}/${watch.limits.get(node) ?? '-'}`).join(', ');
  const { accepted, refused } = vendor;
  return { events: schedule.events, operations, accepted, refused, late, most, endings };
}
