/** A crowd of callers before a few slots: the same closed loop for the engine and for its peers. */
import { setTimeout as delay } from 'node:timers/promises';
import { jain, quantile } from './section.ts';

/** Lets at most so many pieces of work run at once. */
export interface Gate extends AsyncDisposable {
  /** Does the work when it is this caller's turn; resolves when the caller may come again. */
  run(caller: number, work: () => Promise<void>): Promise<void>;
}

export interface ContentionPlan {
  readonly callers: number;
  readonly slots: number;
  readonly serviceMs: number;
  readonly warmMs: number;
  readonly measureMs: number;
  /** Read at both ends of the measured stretch. */
  readonly sample?: () => Promise<number>;
  /** Peers may leave callers waiting for ever; default: that is an error. */
  readonly mayStall?: boolean;
}

interface Span {
  readonly caller: number;
  readonly startMs: number;
  readonly endMs: number;
}

export interface Contention {
  readonly plan: ContentionPlan;
  /** Of the measured stretch. */
  readonly fromMs: number;
  readonly toMs: number;
  readonly spans: readonly Span[];
  /** By how much the sample grew. */
  readonly sampled: number;
  /** All callers got their last turn. */
  readonly isServed: boolean;
}

/** After the measured stretch every caller has one more turn to wait for. */
const DRAIN_MS = 20_000;
const pending = Promise.withResolvers<never>().promise;

/** Each caller comes again as soon as it was served, until the time is over. */
export async function contend(gate: Gate, plan: ContentionPlan): Promise<Contention> {
  const spans: Span[] = [];
  const { callers, serviceMs, warmMs, measureMs, sample = async () => 0, mayStall = false } = plan;
  let isOver = false;
  const work = async (caller: number): Promise<void> => {
    const startMs = performance.now();
    await delay(serviceMs);
    spans.push({ caller, startMs, endMs: performance.now() });
  };
  const call = async (caller: number): Promise<void> => {
    while (!isOver) await gate.run(caller, () => work(caller));
  };
  const measure = async (): Promise<Omit<Contention, 'plan' | 'spans' | 'isServed'>> => {
    await delay(warmMs);
    const before = await sample();
    const fromMs = performance.now();
    await delay(measureMs);
    const toMs = performance.now();
    const after = await sample();
    isOver = true;
    return { fromMs, toMs, sampled: after - before };
  };
  const calling = Promise.all(Array.from({ length: callers }, (_, caller) => call(caller)));
  const broken = calling.then(() => pending);
  const measured = await Promise.race([measure(), broken]);
  const isServed = await Promise.race([calling.then(() => true), delay(DRAIN_MS, false, { ref: false })]);
  // They never come back, or come back to a gate that is closed: what was measured stands all the same.
  calling.catch(() => undefined);
  broken.catch(() => undefined);
  if (!isServed && !mayStall) throw new Error(`callers were not served within ${DRAIN_MS / 1000} s`);
  return { plan, spans, isServed, ...measured };
}

/** Share of the slots' time in which work was done. */
export function utilisation({ plan, spans, fromMs, toMs }: Contention): number {
  let busyMs = 0;
  for (const { startMs, endMs } of spans) busyMs += Math.max(0, Math.min(endMs, toMs) - Math.max(startMs, fromMs));
  return busyMs / (plan.slots * (toMs - fromMs));
}

export function startedWithin({ spans, fromMs, toMs }: Contention): readonly Span[] {
  return spans.filter(({ startMs }) => startMs >= fromMs && startMs < toMs);
}

/** How evenly `groups` were served, by Jain's index. */
export function fairness(run: Contention, groups: number, groupOf: (caller: number) => number): number {
  const counts = Array.from({ length: groups }, () => 0);
  for (const { caller } of startedWithin(run)) counts[groupOf(caller)]! += 1;
  return jain(counts);
}

/** From the end of one piece of work to the start of the one that has its slot: k-th end to (k + slots)-th start. */
export function gapQuantile({ plan, spans, fromMs, toMs }: Contention, part: number): number {
  const starts = spans.map(({ startMs }) => startMs).toSorted((a, b) => a - b);
  const ends = spans.map(({ endMs }) => endMs).toSorted((a, b) => a - b);
  const gaps = ends.flatMap((endMs, index) => {
    const next = starts[index + plan.slots];
    return next === undefined || endMs < fromMs || next > toMs ? [] : [next - endMs];
  });
  return quantile(gaps, part);
}

/** Moments at which the number in flight changed, and what it was from then on. */
export function steps(run: Contention, lastsMs: number): readonly (readonly [atMs: number, inFlight: number])[] {
  const untilMs = run.fromMs + lastsMs;
  const changes = run.spans
    .flatMap(({ startMs, endMs }) => [[startMs, 1] as const, [endMs, -1] as const])
    .toSorted(([a], [b]) => a - b);
  let inFlight = 0;
  const found: [number, number][] = [[0, 0]];
  for (const [atMs, by] of changes) {
    inFlight += by;
    if (atMs > untilMs) break;
    if (atMs < run.fromMs) found[0] = [0, inFlight];
    else found.push([atMs - run.fromMs, inFlight]);
  }
  return [...found, [lastsMs, found.at(-1)?.[1] ?? 0]];
}

/** The most at any moment. */
export function mostInFlight({ spans }: Contention): number {
  const changes = spans
    .flatMap(({ startMs, endMs }) => [[startMs, 1] as const, [endMs, -1] as const])
    .toSorted(([a, byA], [b, byB]) => a - b || byA - byB);
  let [inFlight, most] = [0, 0];
  for (const [, by] of changes) most = Math.max(most, (inFlight += by));
  return most;
}
