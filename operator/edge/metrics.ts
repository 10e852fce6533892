/** What edge counts. */
import type { Counter, Gauge, Registry } from 'prom-client';
import { CODES } from '../../sidecar/base/errors.ts';
import { counter, gauge } from '../../sidecar/base/metrics.ts';

export interface EdgeMetrics {
  readonly streams: Gauge;
  readonly ended: Counter;
}

export function createEdgeMetrics(registry: Registry): EdgeMetrics {
  return {
    streams: gauge(registry, {
      name: 'glmquota_edge_streams',
      help: 'Sidecars that are being told their configuration now.',
    }),
    ended: counter(registry, {
      name: 'glmquota_edge_streams_ended_total',
      help: 'Streams refused or ended, by the code they ended with.',
      labels: { code: CODES },
    }),
  };
}
