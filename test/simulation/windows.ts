/** What the vendor counts by time: its windows, stretches of time, and how fast calls follow each other. */
import type { Stage } from './run.ts';
import { DRIFT } from './party.ts';
import { BURST, type Shape, SLIDING, SLIDING_MS, WINDOW, WINDOW_MS } from './tree.ts';
import type { CallFact, GrantFact } from './watch.ts';

/** What is left of the guard of windows when the vendor counts a cut call for as long as it may. */
const HARMLESS_MS = 200;

type Accepted = CallFact & { readonly acceptedMs: number };

/**
 * inv-I3, N1: no window of the vendor's holds more than the limit of what runs in it, whether it opens when a call arrives
 * or when it is first answered, and whether a call counts where it begins or where it ends. A limit that is changed counts
 * as it was at each grant.
 */
export function judgeWindows(stage: Stage): void {
  const { violated } = stage;
  if (!isCounted(stage)) return;
  const slack = slackOf(stage);
  const accepted = acceptedOf(stage);
  const openings = [
    ['arrives', accepted.map(({ acceptedMs }) => acceptedMs)],
    ['is answered', accepted.flatMap(({ firstByteMs }) => firstByteMs ?? [])],
  ] as const;
  const windows = openings.flatMap(([opener, times]) => windowsFrom(times).map((fromMs) => ({ opener, fromMs })));
  for (const node of ['account', 'quota:a/team']) {
    const here = accepted.filter(({ nodes }) => nodes.includes(node));
    for (const { opener, fromMs } of windows) {
      const grants = here.flatMap((call) => (runsIn(call, fromMs, fromMs + WINDOW_MS) ? (call.grant ?? []) : []));
      const times = windowsOfRedis(stage, fromMs);
      const over = firstAbove(grants, (grant) => amountAt(grant, node, WINDOW) * times + slack);
      if (over !== null)
        violated(`inv-I3 ${WINDOW} of ${node}`, `${over} from ${fromMs} ms, opened when a call ${opener}`);
    }
  }
}

/** The amount as it was when it was granted; Infinity: nobody was held to one. */
function amountAt({ path }: GrantFact, node: string, limit: string): number {
  const config = path.find(({ name }) => name === node);
  if (config === undefined || config.observe) return Infinity;
  return config.limits.find(({ name }) => name === limit)?.amount ?? Infinity;
}

/** Each grant makes one more, and must not make too many by what was in force then; null: none did. */
function firstAbove(grants: readonly GrantFact[], most: (grant: GrantFact) => number): string | null {
  const inOrder = grants.toSorted((a, b) => a.order - b.order);
  const index = inOrder.findIndex((grant, before) => before + 1 > most(grant));
  return index < 0 ? null : `${index + 1} > ${most(inOrder[index]!)}, granted at ${inOrder[index]!.atMs} ms,`;
}

function runsIn({ acceptedMs, endedMs }: Accepted, fromMs: number, toMs: number): boolean {
  return acceptedMs < toMs && (endedMs ?? Infinity) > fromMs;
}

/** inv-I3: no stretch of a sliding window's length holds more than its limit, by Redis' clock. */
export function judgeSliding(stage: Stage): void {
  const { violated } = stage;
  if (!isCounted(stage)) return;
  const grants = acceptedOf(stage).flatMap(({ grant }) => grant ?? []);
  const slack = slackOf(stage);
  for (const { atMs: fromMs } of grants) {
    const lengthMs = SLIDING_MS * (1 - DRIFT);
    const toMs = fromMs + lengthMs - skipped(stage, fromMs, fromMs + lengthMs, lengthMs);
    const within = grants.filter(({ atMs }) => atMs >= fromMs && atMs < toMs);
    const over = firstAbove(within, (grant) => amountAt(grant, 'account', SLIDING) + slack);
    if (over !== null) violated(`inv-I3 ${SLIDING}`, `${over} from ${fromMs} ms`);
  }
}

/** inv-I4: in any stretch t at most (t + τ) / T + 1 calls, by the fastest rate that ever was in force. */
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
function lowest(shapes: readonly Shape[], of: (shape: Shape) => number | null): number | null {
  return shapes.some((shape) => of(shape) === null) ? null : Math.min(...shapes.map((shape) => of(shape) ?? 0));
}
