/**
 * Events of events.k8s.io/v1: what happened to an object, for people. The same happening again within ten minutes
 * counts up one Event's series instead of making another; a burst about one object is cut off.
 */
import type { Clock } from '../../sidecar/base/clock.ts';
import { AppError } from '../../sidecar/base/errors.ts';
import { newId } from '../../sidecar/base/ids.ts';
import type { Log } from '../../sidecar/base/log.ts';
import type { KubeClient } from './client.ts';
import type { ResourceType } from './resources.ts';
import { microTime } from './timestamps.ts';

export const EVENTS: ResourceType = {
  group: 'events.k8s.io',
  version: 'v1',
  plural: 'events',
  kind: 'Event',
  namespaced: true,
};

const SERIES_MS = 10 * 60_000;
/** Events about one object: this many at once, then one each `REFILL_MS`. */
const BURST = 25;
const REFILL_MS = 300_000;
const REMEMBERED = 2000;
const NOTE_LENGTH = 1000;

export interface Regarding {
  readonly apiVersion: string;
  readonly kind: string;
  /** Absent for cluster-scoped objects, whose events land in `default`. */
  readonly namespace?: string;
  readonly name: string;
  readonly uid: string;
}

export interface Happening {
  readonly type: 'Normal' | 'Warning';
  /** CamelCase, past tense. */
  readonly reason: string;
  /** CamelCase: what we did or tried. */
  readonly action: string;
  readonly note: string;
}

export interface RecorderOptions {
  readonly client: Pick<KubeClient, 'create' | 'patch'>;
  readonly clock: Clock;
  readonly log: Log;
  /** `domain/controller`, and the process that speaks. */
  readonly controller: string;
  readonly instance: string;
}

interface Series {
  readonly name: string;
  readonly namespace: string;
  count: number;
  lastMs: number;
  /** The write before: those of one series go out in order. */
  written: Promise<void>;
}

export class EventRecorder {
  readonly #options: RecorderOptions;
  readonly #series = new Map<string, Series>();
  readonly #spent = new Map<string, { tokens: number; atMs: number }>();
  readonly #pending = new Set<Promise<void>>();

  constructor(options: RecorderOptions) {
    this.#options = options;
  }

  /** Writes in the background; a lost Event is logged and nothing else. */
  record(regarding: Regarding, happening: Happening): void {
    const key = [regarding.uid, happening.type, happening.reason, happening.action, happening.note].join('\n');
    const nowMs = this.#options.clock.nowMs();
    const known = this.#series.get(key);
    const current = known !== undefined && nowMs - known.lastMs < SERIES_MS ? known : undefined;
    if (!this.#mayWrite(regarding.uid)) return;
    const series = current ?? this.#begin(key, regarding, nowMs);
    series.lastMs = nowMs;
    series.count += 1;
    const { count } = series;
    const write = series.written.then(async () =>
      count === 1 ? this.#create(series, regarding, happening, nowMs) : this.#repeat(series, count, nowMs),
    );
    series.written = write.catch((reason: unknown) => {
      this.#options.log.warn('event.lost', { reason: happening.reason, cause: AppError.from(reason).message });
    });
    const pending = series.written;
    this.#pending.add(pending);
    void pending.finally(() => this.#pending.delete(pending));
  }

  /** Resolves when everything recorded so far is written or lost. */
  async flush(): Promise<void> {
    await Promise.all(this.#pending);
  }

  #begin(key: string, regarding: Regarding, nowMs: number): Series {
    const series = {
      name: `${regarding.name.slice(0, 200)}.${newId()
        .toLowerCase()
        .replaceAll(/[^a-z0-9]/g, '0')}`,
      namespace: regarding.namespace ?? 'default',
      count: 0,
      lastMs: nowMs,
      written: Promise.resolve(),
    };
    this.#series.delete(key);
    this.#series.set(key, series);
    forgetOldest(this.#series);
    return series;
  }

  #mayWrite(uid: string): boolean {
    const nowMs = this.#options.clock.monotonicMs();
    const bucket = this.#spent.get(uid) ?? { tokens: BURST, atMs: nowMs };
    const tokens = Math.min(BURST, bucket.tokens + (nowMs - bucket.atMs) / REFILL_MS);
    this.#spent.delete(uid);
    this.#spent.set(uid, { tokens: tokens >= 1 ? tokens - 1 : tokens, atMs: nowMs });
    forgetOldest(this.#spent);
    return tokens >= 1;
  }

  async #create(series: Series, regarding: Regarding, happening: Happening, nowMs: number): Promise<void> {
    const { client, controller, instance } = this.#options;
    await client.create(EVENTS, {
      apiVersion: 'events.k8s.io/v1',
      kind: EVENTS.kind,
      metadata: { namespace: series.namespace, name: series.name },
      eventTime: microTime(nowMs),
      reportingController: controller,
      reportingInstance: instance.slice(0, 128),
      type: happening.type,
      reason: happening.reason,
      action: happening.action,
      note: happening.note.slice(0, NOTE_LENGTH),
      regarding,
    });
  }

  async #repeat(series: Series, count: number, nowMs: number): Promise<void> {
    const patch = { series: { count, lastObservedTime: microTime(nowMs) } };
    await this.#options.client.patch(EVENTS, series, { kind: 'merge', patch });
  }
}

function forgetOldest(map: Map<string, unknown>): void {
  const oldest = map.size > REMEMBERED ? map.keys().next().value : undefined;
  if (oldest !== undefined) map.delete(oldest);
}
