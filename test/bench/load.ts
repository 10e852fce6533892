/**
 * The load, as a process of its own so that it does not slow what it measures: `node load.ts <json>`, one JSON reply.
 * Closed loop: each of `concurrency` callers sends its next call when the last one's response has ended.
 */
import { Pool } from 'undici';

export interface LoadPlan {
  readonly origin: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  readonly concurrency: number;
  readonly warmupCalls: number;
  readonly calls: number;
}

export interface LoadResult {
  readonly calls: number;
  readonly failures: number;
  readonly callsPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** From sending to the first byte of the body. */
  readonly firstByteP50Ms: number;
}

function percentile(sorted: readonly number[], part: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN;
}

async function run(plan: LoadPlan): Promise<LoadResult> {
  const pool = new Pool(plan.origin, { connections: plan.concurrency, pipelining: 1 });
  const totals: number[] = [];
  const firsts: number[] = [];
  let failures = 0;
  const call = async (measure: boolean): Promise<void> => {
    const started = performance.now();
    const { statusCode, body } = await pool.request({
      method: 'POST',
      path: plan.path,
      headers: plan.headers,
      body: plan.body,
    });
    let first = 0;
    for await (const _ of body) first ||= performance.now();
    if (statusCode !== 200) failures++;
    if (!measure) return;
    totals.push(performance.now() - started);
    firsts.push(first - started);
  };
  const loop = async (count: number, measure: boolean): Promise<void> => {
    let left = count;
    const caller = async (): Promise<void> => {
      while (left-- > 0) await call(measure);
    };
    await Promise.all(Array.from({ length: plan.concurrency }, caller));
  };
  await loop(plan.warmupCalls, false);
  failures = 0;
  const started = performance.now();
  await loop(plan.calls, true);
  const seconds = (performance.now() - started) / 1000;
  await pool.close();
  totals.sort((a, b) => a - b);
  firsts.sort((a, b) => a - b);
  return {
    calls: plan.calls,
    failures,
    callsPerSecond: plan.calls / seconds,
    p50Ms: percentile(totals, 0.5),
    p99Ms: percentile(totals, 0.99),
    firstByteP50Ms: percentile(firsts, 0.5),
  };
}

const [argument] = process.argv.slice(2);
if (argument !== undefined) console.log(JSON.stringify(await run(JSON.parse(argument) as LoadPlan)));
