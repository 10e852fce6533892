/** What must be true when a run is over: windows as the vendor saw them, what was charged, and that nothing is left. */
import type { UsageSnapshot } from '#sidecar/engine/terms.ts';
import { snapshotOf } from './operations.ts';
import type { Stage } from './run.ts';
import { METER } from './tree.ts';
import { judgeRates, judgeSliding, judgeWindows } from './windows.ts';

export function judge(stage: Stage): void {
  if (stage.schedule.isHalted) return;
  judgeInFlight(stage);
  judgeWindows(stage);
  judgeSliding(stage);
  judgeRates(stage);
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

/** inv-I5, inv-I7: Redis has charged each grant as its caller said, once. */
function judgeCharges({ scenario, store, watch, books, violated }: Stage): void {
  const { forgets = false } = scenario.promises;
  const meter = usage(store.master.look(snapshotOf)?.nodes[0]?.usage ?? []);
  const { least, most } = books.bounds(watch.keys);
  const slack = forgets ? store.forgotten.operations + store.forgotten.doubled : 0;
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
  const promise = scenario.promises.refused;
  if (promise === undefined) return;
  const { accepted, refused, changes } = vendor;
  const most = promise.learning * (1 + changes) + (accepted * promise.percent) / 100;
  if (refused > most) violated('refused too often', `${refused} > ${most}, ${accepted} were accepted`);
}
