/** Writes statuses of one kind: compared, damped as the kind asks, with an Event where a condition turned. */
import { API_VERSION } from '../../api/v1alpha1/resource.ts';
import type { KubeClient } from '../../runtime/client.ts';
import { type Condition, readConditions, transitionsBetween } from '../../runtime/conditions.ts';
import { DONE, type Outcome } from '../../runtime/controller.ts';
import type { EventRecorder } from '../../runtime/events.ts';
import type { ResourceType } from '../../runtime/resources.ts';
import type { Clock } from '../../../sidecar/base/clock.ts';
import type { Observed } from '../world/kinds.ts';

/** What is written about; the spec does not matter here. */
export type StatusTarget = Pick<Observed<unknown>, 'namespace' | 'name' | 'uid' | 'resourceVersion' | 'status'>;

export type WriteDecision =
  | { readonly kind: 'none' }
  | { readonly kind: 'now' }
  | { readonly kind: 'later'; readonly afterMs: number };

export interface StatusWriterOptions<Status> {
  readonly client: Pick<KubeClient, 'apply'>;
  readonly recorder: EventRecorder;
  readonly clock: Clock;
  readonly type: ResourceType;
  /** One name per writer of status, so that fields it drops are removed. */
  readonly fieldManager: string;
  /** `written`: what stands in the object; `sinceMs`: how long ago this process wrote it, Infinity if it did not. */
  readonly decide: (written: unknown, wanted: Status, sinceMs: number) => WriteDecision;
  /** Condition type → the status that is good news; turns of other types make no Event. */
  readonly events: Readonly<Record<string, 'True' | 'False'>>;
}

interface Written {
  /** The cached version the write was based on; while the cache still shows it, our own write is newer. */
  readonly basedOn: string;
  readonly resourceVersion: string;
  readonly status: unknown;
  readonly atMs: number;
}

export class StatusWriter<Status extends { readonly conditions: readonly Condition[] }> {
  readonly #options: StatusWriterOptions<Status>;
  readonly #written = new Map<string, Written>();

  constructor(options: StatusWriterOptions<Status>) {
    this.#options = options;
  }

  /** The status that stands in the object, our own latest write included. */
  current(target: StatusTarget): { readonly status: unknown; readonly resourceVersion: string } {
    const mine = this.#written.get(target.uid);
    return mine?.basedOn === target.resourceVersion ? mine : target;
  }

  /**
   * Writes now, later or not at all. Fails with `conflict` when the object changed meanwhile. `decide`: for an object
   * that wants it otherwise than its kind.
   */
  async write(
    target: StatusTarget,
    wanted: Status,
    signal: AbortSignal,
    decide: StatusWriterOptions<Status>['decide'] = this.#options.decide,
  ): Promise<Outcome> {
    const { client, clock, type, fieldManager } = this.#options;
    const { status, resourceVersion } = this.current(target);
    const lastMs = this.#written.get(target.uid)?.atMs ?? Number.NEGATIVE_INFINITY;
    const decision = decide(status, wanted, clock.monotonicMs() - lastMs);
    if (decision.kind === 'none') return DONE;
    if (decision.kind === 'later') return { kind: 'again', afterMs: decision.afterMs };
    const { namespace, name, uid } = target;
    const metadata = { ...(namespace === '' ? {} : { namespace }), name, uid, resourceVersion };
    const object = { apiVersion: API_VERSION, kind: type.kind, metadata, status: wanted };
    const answer = await client.apply(type, object, { fieldManager, force: true, subresource: 'status', signal });
    this.#written.set(uid, {
      basedOn: target.resourceVersion,
      resourceVersion: answer.metadata.resourceVersion,
      status: answer['status'],
      atMs: clock.monotonicMs(),
    });
    this.#tell(target, readConditions(status), wanted.conditions);
    return DONE;
  }

  /** The object is gone. */
  forget(uid: string): void {
    this.#written.delete(uid);
  }

  #tell(target: StatusTarget, before: readonly Condition[], after: readonly Condition[]): void {
    const { recorder, type, events } = this.#options;
    const { namespace, name, uid } = target;
    for (const { from, to } of transitionsBetween(before, after)) {
      const good = events[to.type];
      // That something new is well is no news.
      if (good === undefined || (from === undefined && to.status === good)) continue;
      recorder.record(
        { apiVersion: API_VERSION, kind: type.kind, ...(namespace === '' ? {} : { namespace }), name, uid },
        {
          type: to.status === good ? 'Normal' : 'Warning',
          reason: to.reason,
          action: 'Reconcile',
          note: to.message === '' ? to.reason : to.message,
        },
      );
    }
  }
}
