/** Events for limits that pass a threshold: one a crossing, however often the use goes to and fro around it. */
import { API_VERSION } from '../../api/v1alpha1/resource.ts';
import type { LimitUsage, NodeStatus } from '../../api/v1alpha1/status.ts';
import type { EventRecorder, Happening } from '../../runtime/events.ts';
import type { ResourceType } from '../../runtime/resources.ts';
import type { NodeConfig } from '../../../sidecar/engine/tree-terms.ts';
import type { StatusTarget } from '../status/writer.ts';

export const USED_UP = 100;
/** Use that fell by less than this below a threshold may come back without being told again. */
const SLACK_PERCENT = 5;
const RESET_TOLERANCE_MS = 60_000;

interface Told {
  /** The highest threshold that was told; 0: none. */
  readonly percent: number;
  readonly resetsAt: string | undefined;
}

export class ThresholdEvents {
  readonly #recorder: Pick<EventRecorder, 'record'>;
  readonly #kind: string;
  /** By uid and limit. */
  readonly #told = new Map<string, ReadonlyMap<string, Told>>();

  constructor(recorder: Pick<EventRecorder, 'record'>, type: ResourceType) {
    this.#recorder = recorder;
    this.#kind = type.kind;
  }

  /**
   * Tells what `wanted` has crossed since the last look. `written`: the status as it stands in the object; what it shows
   * already was told by whoever wrote it. Without thresholds nothing is told.
   */
  look(
    target: StatusTarget,
    thresholds: NodeConfig['thresholds'],
    { written, wanted }: { readonly written: unknown; readonly wanted: NodeStatus },
  ): void {
    const known = this.#told.get(target.uid) ?? toldBy(usageOf(written), thresholds);
    const next = new Map<string, Told>();
    for (const usage of wanted.usage ?? []) {
      const before = stillTold(known.get(usage.limit), usage, thresholds);
      const percent = highestCrossed(usage.percent, thresholds);
      next.set(usage.limit, { percent: Math.max(before, percent), resetsAt: usage.resetsAt });
      if (percent > before) this.#tell(target, usage, percent);
    }
    this.#told.set(target.uid, next);
  }

  /** The object is gone. */
  forget(uid: string): void {
    this.#told.delete(uid);
  }

  #tell({ namespace, name, uid }: StatusTarget, usage: LimitUsage, threshold: number): void {
    const regarding = { apiVersion: API_VERSION, kind: this.#kind, namespace, name, uid };
    this.#recorder.record(regarding, describe(usage, threshold));
  }
}

function describe({ limit, used, reserved, amount, resource, resetsAt }: LimitUsage, threshold: number): Happening {
  const until = resetsAt === undefined ? '' : `; it resets at ${resetsAt}`;
  const held = Number(reserved) > 0 ? ` and ${reserved} reserved` : '';
  const what = threshold === USED_UP ? 'is used up' : `has passed ${threshold}%`;
  return {
    type: 'Warning',
    reason: threshold === USED_UP ? 'QuotaExceeded' : 'QuotaWarning',
    action: 'Count',
    note: `limit ${limit} ${what}: ${used} used${held} of ${amount} ${resource}${until}`,
  };
}

function highestCrossed(percent: number, thresholds: readonly number[]): number {
  if (thresholds.length === 0) return 0;
  return Math.max(0, ...[...thresholds, USED_UP].filter((threshold) => percent >= threshold));
}

function toldBy(usage: readonly LimitUsage[], thresholds: readonly number[]): ReadonlyMap<string, Told> {
  return new Map(
    usage.map(({ limit, percent, resetsAt }) => [limit, { percent: highestCrossed(percent, thresholds), resetsAt }]),
  );
}

/** What of it still counts as told: nothing in a new window, and not what the use fell well below. */
function stillTold(told: Told | undefined, usage: LimitUsage, thresholds: readonly number[]): number {
  if (told === undefined || isAnotherWindow(told.resetsAt, usage.resetsAt)) return 0;
  return Math.min(told.percent, highestCrossed(usage.percent + SLACK_PERCENT, thresholds));
}

function isAnotherWindow(before: string | undefined, after: string | undefined): boolean {
  if (before === undefined || after === undefined) return false;
  return Date.parse(after) - Date.parse(before) > RESET_TOLERANCE_MS;
}

function usageOf(status: unknown): readonly LimitUsage[] {
  if (typeof status !== 'object' || status === null) return [];
  return (status as Partial<NodeStatus>).usage ?? [];
}
