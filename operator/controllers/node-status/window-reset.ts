/** The annotation `glmquota.io/reset-window`: a window ended by a person, done once and echoed in status. */
import { ANNOTATION_RESET } from '../../api/v1alpha1/labels.ts';
import { API_VERSION } from '../../api/v1alpha1/resource.ts';
import type { NodeStatus, ResetStatus } from '../../api/v1alpha1/status.ts';
import type { EventRecorder } from '../../runtime/events.ts';
import type { ResourceType } from '../../runtime/resources.ts';
import { secondTime } from '../../runtime/timestamps.ts';
import type { Clock } from '../../../sidecar/base/clock.ts';
import type { AdminEngine } from '../../../sidecar/engine/port.ts';
import type { NodeName, TreeKey } from '../../../sidecar/engine/tree-terms.ts';
import type { StatusTarget } from '../status/writer.ts';

const MAX_LENGTH = 256;
const FORM =
  /^([a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?)@(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d))$/;

export type ResetStep =
  | { readonly kind: 'none' }
  | { readonly kind: 'reset'; readonly limit: string }
  /** It is not to be done, and never will be. */
  | { readonly kind: 'refuse'; readonly result: 'Malformed' | 'Outdated' };

export interface ResetFacts {
  /** The annotation's value. */
  readonly request: string | undefined;
  /** What status says of the last one. */
  readonly done: ResetStatus | null;
  readonly createdAt: string | null;
}

/** A time before the object was made belongs to a predecessor whose manifest was applied again. */
export function planReset({ request, done, createdAt }: ResetFacts): ResetStep {
  if (request === undefined || request === done?.request) return { kind: 'none' };
  const [, limit, time] = FORM.exec(request) ?? [];
  const atMs = Date.parse(time ?? '');
  if (limit === undefined || Number.isNaN(atMs)) return { kind: 'refuse', result: 'Malformed' };
  if (createdAt !== null && atMs < Date.parse(createdAt)) return { kind: 'refuse', result: 'Outdated' };
  return { kind: 'reset', limit };
}

export interface WindowResetOptions {
  readonly engine: Pick<AdminEngine, 'resetWindow'>;
  readonly recorder: Pick<EventRecorder, 'record'>;
  readonly type: ResourceType;
  readonly clock: Clock;
}

export type ResetTarget = StatusTarget & {
  readonly annotations: Readonly<Record<string, string>>;
  readonly createdAt: string | null;
};

export class WindowReset {
  readonly #options: WindowResetOptions;
  /** By uid: what was done and may not stand in the status yet. */
  readonly #done = new Map<string, ResetStatus>();

  constructor(options: WindowResetOptions) {
    this.#options = options;
  }

  /** Does what the annotation asks for, if it was not done before. The answer is for the status; null: nothing was ever asked. */
  async apply(
    target: ResetTarget,
    written: unknown,
    place: { readonly tree: TreeKey; readonly node: NodeName },
    signal: AbortSignal,
  ): Promise<ResetStatus | null> {
    const { engine, clock } = this.#options;
    const done = this.#done.get(target.uid) ?? echoOf(written);
    const request = target.annotations[ANNOTATION_RESET]?.slice(0, MAX_LENGTH);
    const step = planReset({ request, done, createdAt: target.createdAt });
    if (step.kind === 'none' || request === undefined) return done;
    let result: ResetStatus['result'];
    if (step.kind === 'refuse') result = step.result;
    else result = (await engine.resetWindow(place.tree, place.node, step.limit, signal)) ? 'Done' : 'NoSuchLimit';
    const status = { request, result, at: secondTime(clock.nowMs()) };
    // The status may fail to be written: the window is not to be reset again for that.
    this.#done.set(target.uid, status);
    this.#tell(target, status);
    return status;
  }

  /** What was done already; for when Redis cannot be asked. */
  last(uid: string, written: unknown): ResetStatus | null {
    return this.#done.get(uid) ?? echoOf(written);
  }

  /** The object is gone. */
  forget(uid: string): void {
    this.#done.delete(uid);
  }

  #tell({ namespace, name, uid }: StatusTarget, { request, result }: ResetStatus): void {
    const regarding = { apiVersion: API_VERSION, kind: this.#options.type.kind, namespace, name, uid };
    this.#options.recorder.record(regarding, {
      type: result === 'Done' ? 'Normal' : 'Warning',
      reason: result === 'Done' ? 'WindowReset' : 'WindowResetRefused',
      action: 'ResetWindow',
      note: `${ANNOTATION_RESET}: ${request}: ${NOTES[result]}`,
    });
  }
}

const NOTES: Readonly<Record<ResetStatus['result'], string>> = {
  Done: 'the running window was ended, its use counts from 0 again',
  NoSuchLimit: 'the object has no limit of its own of that name; name one of spec.limits, or one of the plan',
  Malformed: 'write <limit>@<time>, such as five-hour@2026-11-21T10:00:00Z',
  Outdated: 'the time is before the object was made; write the present time',
};

function echoOf(status: unknown): ResetStatus | null {
  if (typeof status !== 'object' || status === null) return null;
  return (status as Partial<NodeStatus>).reset ?? null;
}
