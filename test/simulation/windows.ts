/** What the vendor counts by time: its windows, stretches of time, and how fast calls follow each other. */
import type { Stage } from './run.ts';
import { DRIFT } from './party.ts';
import { BURST, type Shape, SLIDING, SLIDING_MS, WINDOW, WINDOW_MS } from './tree.ts';
import type { CallFact } from './watch.ts';

/** What is left of the guard of windows when the vendor counts a cut call for as long as it may. */
const HARMLESS_MS = 200;

type Accepted = CallFact & { readonly acceptedMs: number };

/**
 * inv-I3, N1: no window of the vendor's holds more than the limit of what runs in it, whether it opens when a call arrives
 * or when it is first answered, and whether a call counts where it begins or where it ends.
 */
export function judgeWindows(stage: Stage): void {
  const { operator, violated } = stage;
  if (!isCounted(stage)) return;
  const slack = slackOf(stage);
  const amounts = [
    ['account', highest(operator.shapes, ({ windowAmount }) => windowAmount)],
    ['quota:a/team', highest(operator.shapes, ({ teamAmount, teamObserves }) => (teamObserves ? null : teamAmount))],
  ] as const;
  const accepted = acceptedOf(stage);
  const openings = [
    ['arrives', accepted.map(({ acceptedMs }) => acceptedMs)],
    ['is answered', accepted.flatMap(({ firstByteMs }) => firstByteMs ?? [])],
  ] as const;
  const windows = openings.flatMap(([opener, times]) => windowsFrom(times).map((fromMs) => ({ opener, fromMs })));
  for (const [node, amount] of amounts) {
    if (amount === null) continue;
    const here = accepted.filter(({ nodes }) => nodes.includes(node));
    for (const { opener, fromMs } of windows) {
      const count = here.filter((call) => runsIn(call, fromMs, fromMs + WINDOW_MS)).length;
      const most = amount * windowsOfRedis(stage, fromMs) + slack;
      const told = `${count} > ${most} from ${fromMs} ms, opened when a call ${opener}`;
      if (count > most) violated(`inv-I3 ${WINDOW} of ${node}`, told);
    }
  }
}

function runsIn({ acceptedMs, endedMs }: Accepted, fromMs: number, toMs: number): boolean {
  return acceptedMs < toMs && (endedMs ?? Infinity) > fromMs;
}

/** inv-I3: no stretch of a sliding window's length holds more than its limit, by Redis' clock. */
export function judgeSliding(stage: Stage): void {
  const { operator, violated } = stage;
  const amount = highest(operator.shapes, ({ slidingAmount }) => slidingAmount);
  if (!isCounted(stage) || amount === null) return;
  const times = grantTimes(stage);
  const slack = slackOf(stage);
  for (const fromMs of times) {
    const lengthMs = SLIDING_MS * (1 - DRIFT);
    const toMs = fromMs + lengthMs - skipped(stage, fromMs, fromMs + lengthMs, lengthMs);
    const count = times.filter((atMs) => atMs >= fromMs && atMs < toMs).length;
    const most = amount + slack;
    if (count > most) violated(`inv-I3 ${SLIDING}`, `${count} > ${most} from ${fromMs} ms`);
  }
}

/** inv-I4: in any stretch t at most (t + τ) / T + 1 calls. */
export function judgeRates(stage: Stage): void {
  const { operator, violated } = stage;
  const intervalMs = lowest(operator.shapes, (shape) => shape.intervalMs);
  if (!isCounted(stage) || intervalMs === null) return;
  const times = grantTimes(stage);
  const slack = slackOf(stage);
  for (const [first, fromMs] of times.entries()) {
    for (let last = first + 1; last < times.length; last++) {
      const toMs = times[last]!;
      const passedMs = (toMs - fromMs) * (1 + DRIFT) + skipped(stage, fromMs, toMs, BURST * intervalMs);
      const most = Math.floor(passedMs / intervalMs) + BURST + slack;
      const count = last - first + 1;
      if (count > most) return violated('inv-I4 too fast', `${count} > ${most} from ${fromMs} to ${toMs} ms`);
    }
  }
}

/** Calls that Redis was not asked for are in nobody's window. */
function isCounted({ scenario, schedule }: Stage): boolean {
  return scenario.promises.localStarts === undefined && !schedule.isHalted;
}

function slackOf({ scenario, store }: Stage): number {
  return scenario.promises.forgets === true ? store.forgotten.grants.size : 0;
}

function acceptedOf({ watch }: Stage): readonly Accepted[] {
  return watch.calls.filter((call): call is Accepted => call.acceptedMs !== null);
}

function grantTimes(stage: Stage): readonly number[] {
  return acceptedOf(stage)
    .flatMap(({ grant }) => grant?.atMs ?? [])
    .toSorted((a, b) => a - b);
}

/** Each opens with the first call after the one before has ended. */
function windowsFrom(times: readonly number[]): readonly number[] {
  const starts: number[] = [];
  for (const atMs of times.toSorted((a, b) => a - b)) {
    if (atMs >= (starts.at(-1) ?? -Infinity) + WINDOW_MS) starts.push(atMs);
  }
  return starts;
}

/** How many of Redis' windows one of the vendor's may touch: a clock that is set parts them, and each step may end one. */
function windowsOfRedis({ watch }: Stage, fromMs: number): number {
  const steps = watch.steps.filter(({ byMs }) => Math.abs(byMs) > HARMLESS_MS);
  const apart = steps.some(({ atMs }) => atMs < fromMs);
  return 1 + (apart ? 1 : 0) + steps.filter(({ atMs }) => atMs >= fromMs && atMs < fromMs + WINDOW_MS).length;
}

/** How much more of Redis' time passes than is true, `most` for each step: it does not notice a clock that is set back. */
function skipped({ watch }: Stage, fromMs: number, toMs: number, most: number): number {
  const between = watch.steps.filter(({ atMs }) => atMs >= fromMs && atMs < toMs);
  return between.reduce((sum, { byMs }) => sum + Math.min(most, Math.max(0, byMs)), 0);
}

/** Null: at some time there was none. */
function highest(shapes: readonly Shape[], of: (shape: Shape) => number | null): number | null {
  return shapes.some((shape) => of(shape) === null) ? null : Math.max(...shapes.map((shape) => of(shape) ?? 0));
}

function lowest(shapes: readonly Shape[], of: (shape: Shape) => number | null): number | null {
  return shapes.some((shape) => of(shape) === null) ? null : Math.min(...shapes.map((shape) => of(shape) ?? 0));
}
