/** From how a call ended to the row of the rollback matrix it is settled by. */
import type { ErrorClass } from '../catalog/terms.ts';
import type { Outcome } from '../engine/terms.ts';

export type Ending =
  /** The whole response came. */
  | 'whole'
  /** The vendor closed, reset, fell silent or reported an error in the middle of a stream. */
  | 'upstreamBroke'
  /** The client went away, or we cut the call (lease lost, run time used up): the vendor may go on working. */
  | 'cutByUs';

export interface CallEnd {
  /** Whether any byte of the request left for the vendor. */
  readonly sent: boolean;
  /** Null: no response head came. */
  readonly status: number | null;
  /** Class of the vendor's error, in status or stream; null: none. */
  readonly failure: ErrorClass | null;
  /** Whether output of the model had arrived (`ResponseFacts.contentSeen`). */
  readonly contentSeen: boolean;
  readonly ending: Ending;
}

/**
 * The outcome to settle with. A call is refunded only where the vendor is known to have done no work: refused, failed
 * before its first output, or never sent. One that we cut is charged: the vendor is assumed to bill it.
 */
export function outcomeOf(end: CallEnd): Outcome {
  if (!end.sent) return 'neverSent';
  if (end.contentSeen) return end.ending === 'whole' && end.failure === null ? 'completed' : 'brokeMidStream';
  if (end.failure !== null) return outcomeOfFailure(end.failure, end.status);
  if (end.ending === 'cutByUs') return 'brokeMidStream';
  if (end.ending === 'whole' && end.status !== null) return 'completed';
  return answeredWell(end.status) ? 'brokeMidStream' : 'failedBeforeFirstByte';
}

/** A success began: work was done although no output is known to have passed. */
function answeredWell(status: number | null): boolean {
  return status !== null && status < 400;
}

function outcomeOfFailure(failure: ErrorClass, status: number | null): Outcome {
  switch (failure) {
    case 'Concurrency':
      return 'refusedConcurrency';
    case 'Rate':
      return 'refusedRate';
    case 'Overload':
      return 'refusedOverload';
    case 'Quota':
      return 'refusedQuota';
    case 'AccountStop':
      return status === 429 ? 'refusedRate' : 'rejected';
    case 'ClientError':
      return 'rejected';
    case 'Retry':
      return 'failedBeforeFirstByte';
  }
}
