/**
 * The annotation `glmquota.io/planned-move`: until its time the slot of an account's tree may move between the masters of
 * the Redis Cluster, as they are when it is read, without the tree being taken for a restored one (rule W2).
 */
import { ANNOTATION_MOVE } from '../../api/v1alpha1/labels.ts';
import { API_VERSION } from '../../api/v1alpha1/resource.ts';
import type { MoveStatus, NodeStatus } from '../../api/v1alpha1/status.ts';
import type { EventRecorder } from '../../runtime/events.ts';
import { secondTime } from '../../runtime/timestamps.ts';
import type { Clock } from '../../../sidecar/base/clock.ts';
import type { AdminEngine } from '../../../sidecar/engine/port.ts';
import { identityOf, type RedisServers } from '../../../sidecar/engine/servers.ts';
import type { TreeKey } from '../../../sidecar/engine/tree-terms.ts';
import type { Observed } from '../world/kinds.ts';
import { GLM_ACCOUNTS } from '../world/kinds.ts';

const MAX_LENGTH = 64;
const FORM = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)$/;
/** Whatever happens to a server after it was declared is no surprise: that must not hold for long. */
const LONGEST_MS = 24 * 3_600_000;

/** `result`: why nothing is declared. */
export type MoveStep =
  | { readonly kind: 'declare'; readonly untilMs: number }
  | { readonly kind: 'refuse'; readonly result: Exclude<MoveStatus['result'], 'Declared'> };

export function planMove(request: string, nowMs: number): MoveStep {
  const untilMs = FORM.test(request) ? Date.parse(request) : Number.NaN;
  if (Number.isNaN(untilMs)) return { kind: 'refuse', result: 'Malformed' };
  if (untilMs <= nowMs) return { kind: 'refuse', result: 'Outdated' };
  if (untilMs - nowMs > LONGEST_MS) return { kind: 'refuse', result: 'TooFar' };
  return { kind: 'declare', untilMs };
}

export interface PlannedMovesOptions {
  readonly engine: Pick<AdminEngine, 'declareMove'>;
  /** Null: it is not known which servers there are. */
  readonly servers: Pick<RedisServers, 'list'> | null;
  readonly recorder: Pick<EventRecorder, 'record'>;
  readonly clock: Clock;
}

export class PlannedMoves {
  readonly #options: PlannedMovesOptions;
  /** By uid: what was done and may not stand in the status yet. */
  readonly #done = new Map<string, MoveStatus>();

  constructor(options: PlannedMovesOptions) {
    this.#options = options;
  }

  /** Declares what the annotation asks for, once a value. The answer is for the status; null: nothing was ever asked. */
  async apply(target: Observed<unknown>, tree: TreeKey, signal: AbortSignal): Promise<MoveStatus | null> {
    const done = this.last(target);
    const request = target.annotations[ANNOTATION_MOVE]?.slice(0, MAX_LENGTH);
    if (request === undefined || request === done?.request) return done;
    const { clock } = this.#options;
    const step = planMove(request, clock.nowMs());
    const result = step.kind === 'refuse' ? step.result : await this.#declare(tree, step.untilMs, signal);
    const status = { request, result, at: secondTime(clock.nowMs()) };
    this.#done.set(target.uid, status);
    this.#tell(target, status);
    return status;
  }

  /** What was done already; for when Redis cannot be asked. */
  last({ uid, status }: Pick<Observed<unknown>, 'uid' | 'status'>): MoveStatus | null {
    return this.#done.get(uid) ?? (status as Partial<NodeStatus> | undefined)?.plannedMove ?? null;
  }

  /** The object is gone. */
  forget(uid: string): void {
    this.#done.delete(uid);
  }

  async #declare(tree: TreeKey, untilMs: number, signal: AbortSignal): Promise<'Declared' | 'NoCluster'> {
    const { engine, servers } = this.#options;
    const masters = ((await servers?.list(signal)) ?? []).filter(({ isMaster }) => isMaster);
    if (masters.length < 2) return 'NoCluster';
    await engine.declareMove(tree, { identities: await Promise.all(masters.map(identityOf)), untilMs }, signal);
    return 'Declared';
  }

  #tell({ namespace, name, uid }: Observed<unknown>, { request, result }: MoveStatus): void {
    const isDone = result === 'Declared';
    this.#options.recorder.record(
      { apiVersion: API_VERSION, kind: GLM_ACCOUNTS.kind, namespace, name, uid },
      {
        type: isDone ? 'Normal' : 'Warning',
        reason: isDone ? 'PlannedMoveDeclared' : 'PlannedMoveRefused',
        action: 'DeclareMove',
        note: `${ANNOTATION_MOVE}: ${request}: ${NOTES[result]}`,
      },
    );
  }
}

const NOTES: Readonly<Record<MoveStatus['result'], string>> = {
  Declared: 'until then the slot may move between the present masters of the cluster',
  NoCluster: 'this Redis is no cluster of several masters; there is nothing to declare',
  Malformed: 'write the time at which the move is over, such as 2026-11-21T10:00:00Z',
  Outdated: 'the time has passed; write one that is still to come',
  TooFar: 'the time is more than a day ahead; write a nearer one',
};
