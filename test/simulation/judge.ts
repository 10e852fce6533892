/** What must be true when a run is over: windows as the vendor saw them, what was charged, and that nothing is left. */
import type { UsageSnapshot } from '#sidecar/engine/terms.ts';
import { snapshotOf } from './operations.ts';
import type { Stage } from './run.ts';
import { DRIFT } from './party.ts';
import { METER, SLIDING, SLIDING_MS, WINDOW, WINDOW_MS } from './tree.ts';
import type { CallFact } from './watch.ts';

export function judge(stage: Stage): void {
  if (stage.schedule.isHalted) return;
  judgeInFlight(stage);
  judgeWindows(stage);
  judgeCharges(stage);
  judgeLeftovers(stage);
  judgeRefusals(stage);
}

/** The bound of the class, whatever the reason. */
function judgeInFlight({ scenario, watch, violated }: Stage): void {
  const { timesLimit, localStarts = 0 } = scenario.promises;
  for (const [node, most] of watch.most) {
    const limit = watch.limits.get(node);
    if (limit !== undefined && most > timesLimit * limit + localStarts)
      violated(`inv-I1 in flight at ${node}`, `${most} > ${timesLimit} × ${limit} + ${localStarts}`);
  }
}

/** inv-I3: no window of the vendor's, wherever it opened, holds more accepted calls than the limit. */
function judgeWindows({ scenario, watch, store, operator, violated }: Stage): void {
  const { forgets = false, clocksJump = false, localStarts } = scenario.promises;
  const { windowAmount, teamAmount, slidingAmount } = operator.shape;
  if (clocksJump || localStarts !== undefined) return;
  const slack = forgets ? store.forgotten.grants.size : 0;
  const accepted = watch.calls.filter(({ acceptedMs }) => acceptedMs !== null);
  const amounts = [
    ['account', windowAmount],
    ['quota:a/team', windowAmount === null ? null : teamAmount],
  ] as const;
  for (const [node, amount] of amounts) {
    const most = mostInWindows(accepted, node);
    if (amount !== null && most > amount + slack)
      violated(`inv-I3 ${WINDOW} of ${node}`, `${most} > ${amount} + ${slack}`);
  }
  if (slidingAmount === null) return;
  // What was granted late in one stretch may be sent early in the next; and it is Redis' clock that measures.
  const lengthMs = SLIDING_MS * (1 - DRIFT) - watch.longestDelayMs;
  const most = mostInStretches(
    accepted.map(({ sentMs }) => sentMs),
    lengthMs,
  );
  if (most > slidingAmount + slack) violated(`inv-I3 ${SLIDING}`, `${most} > ${slidingAmount} + ${slack}`);
}

/** The vendor's window opens with the first call it accepts, whosever that is. */
function mostInWindows(accepted: readonly CallFact[], node: string): number {
  let most = 0;
  let count = 0;
  let endMs = -Infinity;
  for (const call of accepted.toSorted((a, b) => (a.acceptedMs ?? 0) - (b.acceptedMs ?? 0))) {
    const atMs = call.acceptedMs ?? 0;
    if (atMs >= endMs) [count, endMs] = [0, atMs + WINDOW_MS];
    if (call.nodes.includes(node)) count += 1;
    most = Math.max(most, count);
  }
  return most;
}

function mostInStretches(times: readonly number[], lengthMs: number): number {
  return Math.max(0, ...times.map((from) => times.filter((atMs) => atMs >= from && atMs < from + lengthMs).length));
}

/** inv-I5, inv-I7: Redis has charged each grant as its caller said, once. */
function judgeCharges({ scenario, store, watch, books, violated }: Stage): void {
  const { forgets = false } = scenario.promises;
  const meter = usage(store.master.look(snapshotOf)?.nodes[0]?.usage ?? []);
  const { least, most } = books.bounds(watch.keys);
  const slack = forgets ? store.forgotten.operations : 0;
  if (meter === null) return violated('inv-I7 the tree is gone', '');
  const { used, reserved } = meter;
  if (reserved !== 0) violated('inv-I7 reserved for nobody', String(reserved));
  if (used < least - slack || used > most + slack)
    violated('inv-I5 charged', `${used}, but callers know of ${least} to ${most} (forgotten: ${slack})`);
}

function usage(all: readonly UsageSnapshot[]): UsageSnapshot | null {
  return all.find(({ limit }) => limit === METER) ?? null;
}

/** inv-L5: nobody lives, so nothing is held. */
function judgeLeftovers({ store, watch, violated }: Stage): void {
  const { tree } = store.master.model;
  const held = [...tree.nodes].filter(([, { inFlight }]) => inFlight.size > 0).map(([name]) => name);
  const { length: leases } = tree.leases.live;
  const { length: waiters } = tree.room.waiters;
  if (leases + waiters + held.length > 0)
    violated('inv-L5 left in Redis', `${leases} leases, ${waiters} waiters, slots at ${held.join(', ')}`);
  if (watch.running.size > 0) violated('calls run on', String(watch.running.size));
}

function judgeRefusals({ scenario, vendor, violated }: Stage): void {
  const { refusedPercent } = scenario.promises;
  if (refusedPercent === undefined) return;
  const { accepted, refused } = vendor;
  if (refused * 100 > accepted * refusedPercent) violated('refused too often', `${refused} of ${accepted + refused}`);
}
