/** What a benchmark run found: printed as a table, written as JSON beside the goals. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';

export interface Metric {
  readonly id: string;
  readonly value: number;
  readonly unit: string;
  /** Null: recorded for comparison only. */
  readonly goal: number | null;
  readonly better: 'lower' | 'higher';
  readonly method: string;
  readonly peers: Readonly<Record<string, number>>;
}

const RESULTS = join(import.meta.dirname, 'results');
const TRIALS = join(tmpdir(), 'glmquota-bench-quick');

/** Where results go: those of small sizes beside the project, because nobody should quote them. */
export function resultsFolder(quick: boolean): string {
  const folder = quick ? TRIALS : RESULTS;
  mkdirSync(folder, { recursive: true });
  return folder;
}

function meets({ value, goal, better }: Metric): string {
  if (goal === null) return '';
  return (better === 'lower' ? value <= goal : value >= goal) ? 'met' : 'MISSED';
}

export function round(value: number): number {
  return Number(value.toPrecision(4));
}

export interface Circumstances {
  readonly redisVersion: string;
  readonly quick: boolean;
}

/** Prints the table and writes `<bench>.json`. */
export function report(bench: string, { redisVersion, quick }: Circumstances, metrics: readonly Metric[]): void {
  for (const metric of metrics) {
    const peers = Object.entries(metric.peers).map(([name, value]) => `${name} ${round(value)}`);
    const goal = metric.goal === null ? '-' : `${metric.better === 'lower' ? '≤' : '≥'} ${metric.goal}`;
    console.log(
      `${metric.id.padEnd(34)} ${String(round(metric.value)).padStart(9)} ${metric.unit.padEnd(8)} goal ${goal.padEnd(8)} ${meets(metric).padEnd(7)} ${peers.join(', ')}`,
    );
  }
  const document = {
    bench,
    at: new Date().toISOString(),
    node: process.version,
    redis: redisVersion,
    cpus: cpus().length,
    metrics: metrics.map((metric) => ({
      ...metric,
      value: round(metric.value),
      peers: Object.fromEntries(Object.entries(metric.peers).map(([name, value]) => [name, round(value)])),
    })),
  };
  const file = join(resultsFolder(quick), `${bench}.json`);
  writeFileSync(file, `${JSON.stringify(document, null, 2)}\n`);
  console.log(`written to ${file}`);
}
