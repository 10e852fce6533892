/** Keeping the spend of many calls in the place of few (rule F4). Pure. */
import type { Settlement } from '../engine/terms.ts';
import type { Lease } from './lease-state.ts';
import { plus } from './tally.ts';

/** A lease and how it ended. */
export interface Ended {
  readonly lease: Lease;
  readonly settlement: Settlement;
}

/** Both are calls that Redis has never heard of, are charged, and count on the same nodes. */
export function canMerge(one: Ended, other: Ended): boolean {
  return [one, other].every(({ lease, settlement }) => lease.isLocal && isCharged(settlement)) && isAlike(one, other);
}

/** One call in the place of two: it takes one slot, and charges what both used. */
export function merged(one: Ended, other: Ended): Ended {
  const { lease, settlement } = one;
  const reserve = plus(lease.request.reserve, other.lease.request.reserve);
  const actual = plus(settlement.actual, other.settlement.actual);
  return {
    lease: { ...lease, request: { ...lease.request, reserve } },
    settlement: { ...settlement, actual, outcome: 'brokeMidStream' },
  };
}

function isCharged({ outcome }: Settlement): boolean {
  return outcome === 'completed' || outcome === 'brokeMidStream';
}

function isAlike({ lease: { request: one } }: Ended, { lease: { request: other } }: Ended): boolean {
  return (
    one.leaf === other.leaf &&
    one.model === other.model &&
    JSON.stringify(one.attributes) === JSON.stringify(other.attributes)
  );
}
