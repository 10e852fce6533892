/** Sentinels and a cluster move the tree to another server under load (rules F2, F5, F6, W2). */
import { expect, test } from 'vitest';
import { configKey } from '#sidecar/engine/keys.ts';
import { fullOnly, isFull } from './mode.ts';
import { peak } from './stand/oracle.ts';
import { passed } from './stand/passed.ts';
import { momentOf, Stand } from './stand/stand.ts';
import { openCluster, openSentinels, type Store } from './stand/stores.ts';
import { TREE_KEY } from './stand/tree.ts';

const SLOTS = 4;
const SETTLED_MS = 9000;

async function more<S extends Store>({ control }: Stand<S>, calls: number): Promise<void> {
  const { accepted } = await control.report();
  await control.until((report) => report.accepted >= accepted + calls, 60_000);
}

fullOnly(
  'F2 F5 Sentinel fail-over with a user for the tree: never more than c in flight, the same user goes on',
  async () => {
    const store = await openSentinels();
    await using stand = await Stand.open({ name: 'sentinel', store, concurrency: SLOTS, sidecars: 3 });
    const held = stand.call(0, { text: '[[sim midhold=ever tokens=40]]', stream: true });
    await stand.inFlight(1);
    stand.load({ callers: 20, text: '[[sim ms=300]]' });
    await more(stand, 20);
    const before = await store.topology.master();
    await stand.mark('master killed');
    await before.kill();
    await stand.until('another master', async () => (await store.topology.master()) !== before);
    await stand.mark('another is named');
    await more(stand, 30);
    await stand.control.release('ever');
    expect((await held).status).toBe(200);
    const proof = await stand.proves(SLOTS);
    expect(peak(proof.steps, momentOf(proof, 'another is named') + SETTLED_MS)).toBe(SLOTS);
  },
);

test.concurrent('F5 F6 a slot moves through the cluster under load, with stale redirects: never more than c in flight', async () => {
  const store = await openCluster();
  await using stand = await Stand.open({ name: 'slot-migration', store, concurrency: SLOTS, sidecars: 3 });
  const { topology } = store;
  const held = stand.call(0, { text: '[[sim midhold=ever tokens=40]]', stream: true });
  await stand.inFlight(1);
  stand.load({ callers: 20, text: '[[sim ms=200]]' });
  await more(stand, 20);
  const key = configKey(TREE_KEY);
  for (let round = 0; round < (isFull ? 4 : 2); round++) {
    const owner = await topology.ownerOf(key);
    const target = topology.servers.find((server) => server !== owner);
    if (target === undefined) throw new Error('no other master');
    await stand.mark(`move ${round + 1}`);
    const migration = await topology.migrate(key, target);
    // Half of its keys are on either side for a while.
    await migration.moveKeys(4);
    await passed(1500);
    await migration.moveKeys();
    await migration.finish({ quietly: round % 2 === 0 });
    await more(stand, 20);
  }
  await stand.control.release('ever');
  expect((await held).status).toBe(200);
  await stand.proves(SLOTS);
});
