/** Metrics are declared in tables: name, help text and closed label sets, every series there from the start at zero. */
import { Counter, Gauge, Histogram, Registry } from 'prom-client';

/** Label name → all values it may take. */
export type LabelSets = Readonly<Record<string, readonly string[]>>;

export interface MetricSpec {
  readonly name: string;
  readonly help: string;
  readonly labels?: LabelSets;
}

export function createRegistry(): Registry {
  return new Registry();
}

function combinations(labels: LabelSets): Record<string, string>[] {
  let rows: Record<string, string>[] = [{}];
  for (const [label, values] of Object.entries(labels)) {
    rows = rows.flatMap((row) => values.map((value) => ({ ...row, [label]: value })));
  }
  return rows;
}

function specOf(registry: Registry, spec: MetricSpec) {
  return { name: spec.name, help: spec.help, labelNames: Object.keys(spec.labels ?? {}), registers: [registry] };
}

export function counter(registry: Registry, spec: MetricSpec): Counter {
  const metric = new Counter(specOf(registry, spec));
  for (const row of combinations(spec.labels ?? {})) metric.inc(row, 0);
  return metric;
}

export function gauge(registry: Registry, spec: MetricSpec): Gauge {
  const metric = new Gauge(specOf(registry, spec));
  for (const row of combinations(spec.labels ?? {})) metric.set(row, 0);
  return metric;
}

/** `buckets` are upper bounds in the unit the name ends in. */
export function histogram(registry: Registry, spec: MetricSpec & { readonly buckets: readonly number[] }): Histogram {
  const metric = new Histogram({ ...specOf(registry, spec), buckets: [...spec.buckets] });
  for (const row of combinations(spec.labels ?? {})) metric.zero(row);
  return metric;
}
