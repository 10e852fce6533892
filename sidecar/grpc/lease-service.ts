/** LeaseService over the lease desk: parse, one use case, map the verdict. */
import type { AcquireRequest, LeaseService } from '../../proto/gen/glmquota/v1/lease_pb.ts';
import { AppError } from '../base/errors.ts';
import { newId } from '../base/ids.ts';
import type { Denial, LeaseDesk } from '../leases/terms.ts';
import type { Handlers } from '../rpc/handlers.ts';
import type { BookedLease, LeaseBook } from './lease-book.ts';
import { renewals } from './renewals.ts';
import { parseCall, parseId, parseOutcome, parseUsage } from './requests.ts';
import { encodeStatus, type StatusPort } from './status.ts';

export interface LeaseServiceOptions {
  readonly desk: LeaseDesk;
  readonly book: LeaseBook;
  readonly status: StatusPort;
}

/** The handlers. Leases that anybody but this service acquired do not exist for them. */
export function leaseService({ desk, book, status }: LeaseServiceOptions): Handlers<typeof LeaseService> {
  const acquiring = new Map<string, Promise<BookedLease | Denial>>();

  const acquire = async (id: string, request: AcquireRequest, signal: AbortSignal): Promise<BookedLease | Denial> => {
    const call = parseCall(request, id);
    const admission = await desk.admit(call, signal);
    if (admission.kind === 'unavailable') throw new AppError('unavailable', admission.message);
    if (admission.kind === 'denied') return admission;
    try {
      return book.enter(id, admission.lease, call.estimate);
    } catch (reason) {
      await admission.lease.cancel();
      throw reason;
    }
  };

  /** Asking twice, even at the same time, gives the same lease. */
  const acquireOnce = (id: string, request: AcquireRequest, signal: AbortSignal): Promise<BookedLease | Denial> => {
    if (book.ending(id)) throw new AppError('conflict', `lease ${id} has ended: use another id`);
    const running = acquiring.get(id);
    if (running) return running;
    const asked = acquire(id, request, signal).finally(() => acquiring.delete(id));
    acquiring.set(id, asked);
    return asked;
  };

  return {
    acquire: async (request, { signal }) => {
      const id = request.id === '' ? newId() : parseId(request.id);
      const verdict = book.find(id) ?? (await acquireOnce(id, request, signal));
      return { verdict: 'kind' in verdict ? denied(verdict) : granted(verdict) };
    },
    renew: (requests, { signal }) => renewals(book, requests, signal),
    settle: (request) => {
      const usage = parseUsage(request.usage, 'usage');
      return book.settle(parseId(request.id), parseOutcome(request.outcome), usage);
    },
    cancel: async (request) => {
      await book.cancel(parseId(request.id));
      return {};
    },
    status: async (_, { signal }) => encodeStatus(status, desk.waiting(), signal),
  };
}

function granted({ id, ttlMs, warnings }: BookedLease) {
  const value = { id, ttlMs: BigInt(ttlMs), warnings: [...warnings] };
  return { case: 'granted', value } as const;
}

function denied({ reason, node, limit, retryAtMs, used, amount }: Denial) {
  const taken = { used: BigInt(used), amount: BigInt(amount) };
  return {
    case: 'denied',
    value: { reason, node, limit, retryAtMs: BigInt(Math.ceil(retryAtMs ?? 0)), ...taken },
  } as const;
}
