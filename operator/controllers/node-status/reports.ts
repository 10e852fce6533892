/** Status, Events and deeds of one kind of node: what accounts and quotas have in common. */
import type { NodeStatus } from '../../api/v1alpha1/status.ts';
import { readConditions } from '../../runtime/conditions.ts';
import type { Outcome } from '../../runtime/controller.ts';
import type { EventRecorder } from '../../runtime/events.ts';
import type { ResourceType } from '../../runtime/resources.ts';
import type { Clock } from '../../../sidecar/base/clock.ts';
import type { AdminEngine } from '../../../sidecar/engine/port.ts';
import type { StatusWriter } from '../status/writer.ts';
import type { Observed } from '../world/kinds.ts';
import { decideNodeWrite } from './damping.ts';
import { LimitChanges } from './limit-changes.ts';
import { type NodeFacts, planNodeStatus, snapshotOf } from './plan.ts';
import { ThresholdEvents } from './threshold-events.ts';
import { WindowReset } from './window-reset.ts';

export interface NodeReportsOptions {
  readonly type: ResourceType;
  readonly writer: StatusWriter<NodeStatus>;
  readonly engine: Pick<AdminEngine, 'resetWindow'>;
  readonly recorder: Pick<EventRecorder, 'record'>;
  readonly clock: Clock;
}

/** What a report is made of besides what stands in the object. */
export type ReportFacts = Omit<NodeFacts, 'conditions' | 'reset' | 'lastChange'>;

export class NodeReports {
  readonly #options: NodeReportsOptions;
  readonly #thresholds: ThresholdEvents;
  readonly #resets: WindowReset;
  readonly #limits = new LimitChanges();

  constructor(options: NodeReportsOptions) {
    this.#options = options;
    this.#thresholds = new ThresholdEvents(options.recorder, options.type);
    this.#resets = new WindowReset(options);
  }

  /** Does what annotations ask for, tells what was crossed and writes the status now, later or not at all. */
  async report(target: Observed<unknown>, facts: ReportFacts, signal: AbortSignal): Promise<Outcome> {
    const { writer, clock } = this.#options;
    const reset = await this.#reset(target, facts, signal);
    const written = writer.current(target).status;
    const conditions = readConditions(written);
    const counted = snapshotOf(facts)?.nodes.find(({ name }) => name === facts.path[0]);
    const lastChange = this.#limits.look(target.uid, counted?.concurrency, written, clock.nowMs());
    const wanted = planNodeStatus({ ...facts, conditions, reset, lastChange }, clock.nowMs());
    const thresholds = facts.tree?.nodes.find(({ name }) => name === facts.path[0])?.thresholds ?? [];
    this.#thresholds.look(target, thresholds, { written, wanted });
    return writer.write(target, wanted, signal, (before, after, sinceMs) =>
      decideNodeWrite(before, after, sinceMs, thresholds),
    );
  }

  /** The object is gone. */
  forget(uid: string): void {
    this.#options.writer.forget(uid);
    this.#thresholds.forget(uid);
    this.#resets.forget(uid);
    this.#limits.forget(uid);
  }

  async #reset(target: Observed<unknown>, { tree, path, sync }: ReportFacts, signal: AbortSignal) {
    const written = this.#options.writer.current(target).status;
    const [node] = path;
    // Until Redis holds the tree as it is compiled, the limit may not be there yet.
    if (tree === null || node === undefined || sync.kind !== 'applied') return this.#resets.last(target.uid, written);
    return this.#resets.apply(target, written, { tree: tree.key, node }, signal);
  }
}
