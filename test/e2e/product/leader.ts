/** The controller dies, or stops and comes back too late. */
import { beforeAll, expect, test } from 'vitest';
import { waitFor } from '#test/cluster/wait.ts';
import { type Agent, callOf, Load, startAgent } from '#test/support/agents.ts';
import {
  apply,
  createTenant,
  getJson,
  OPERATOR_NAMESPACE,
  type Platform,
  quotaObject,
  type Tenant,
} from '#test/support/platform.ts';
import { processOfPod } from '#test/support/pod-processes.ts';
import { openStore, type Store, treeOf } from '#test/support/store-of-platform.ts';

interface Leader {
  readonly pod: string;
  readonly identity: string;
  readonly pid: number;
}

interface LeaseView {
  readonly spec: { readonly holderIdentity: string };
}

async function currentLeader(platform: Platform): Promise<Leader> {
  const place = ['-n', OPERATOR_NAMESPACE];
  const { spec } = await getJson<LeaseView>(platform, 'lease', 'glmquota-controller', ...place);
  const [pod = ''] = spec.holderIdentity.split('_');
  const { metadata } = await getJson<{ metadata: { uid: string } }>(platform, 'pod', pod, ...place);
  return { pod, identity: spec.holderIdentity, pid: processOfPod(metadata.uid) };
}

/** Waits for another holder than `before`. */
async function nextLeader(platform: Platform, before: Leader): Promise<Leader> {
  return waitFor(
    'another leader',
    async () => {
      const leader = await currentLeader(platform);
      return leader.identity !== before.identity && leader;
    },
    { intervalMs: 200 },
  );
}

export function leader(platform: () => Platform): void {
  let tenant: Tenant;
  let agent: Agent;

  const setLimit = (amount: number): Promise<void> =>
    apply(
      platform(),
      quotaObject(tenant.name, 'team', { accountRef: { name: 'main' }, limits: [{ name: 'five-hour', amount }] }),
    );

  const limitInForce = async (store: Store): Promise<number | undefined> =>
    (await store.snapshot(tenant)).nodes.find(({ name }) => name === `quota:${tenant.name}/team`)?.usage[0]?.amount;

  const inForce = (store: Store, amount: number): Promise<boolean> =>
    waitFor(`the limit ${amount} in Redis`, async () => (await limitInForce(store)) === amount, { intervalMs: 100 });

  beforeAll(async () => {
    tenant = await createTenant(platform(), 'led', { quota: { limits: [{ name: 'five-hour', amount: 10_000 }] } });
    agent = await startAgent(platform(), tenant, 'agent');
  });

  test('agents notice nothing of a leader killed under load, and the next one applies what changes', async () => {
    using store = await openStore(platform());
    const load = await Load.start(platform(), agent, { parallel: 2 });
    const before = await currentLeader(platform());
    process.kill(before.pid, 'SIGKILL');
    const killedMs = performance.now();
    await setLimit(10_001);
    await inForce(store, 10_001);
    const seconds = ((performance.now() - killedMs) / 1000).toFixed(1);
    const callsMeanwhile = load.seen.filter(({ atMs }) => atMs > killedMs).length;
    const answers = await load.stop();
    console.log(`a change applied ${seconds} s after the kill (goal: 20 s), ${callsMeanwhile} calls meanwhile`);
    expect(load.failures).toEqual([]);
    expect(callsMeanwhile).toBeGreaterThan(0);
    expect(answers.length).toBeGreaterThan(callsMeanwhile);
    expect((await currentLeader(platform())).identity).not.toBe(before.identity);
    expect(performance.now() - killedMs).toBeLessThan(60_000);
  });

  test('a leader that was paused past its term does not overwrite what its successor wrote', async () => {
    using store = await openStore(platform());
    const paused = await currentLeader(platform());
    const old = await store.snapshot(tenant);
    const oldTree = await store.engine.config(treeOf(tenant));
    if (!oldTree) throw new Error('the tree is not in Redis');
    // It has heard of this change but not written it when it stops: what it wants to write first when it goes on.
    process.kill(paused.pid, 'SIGSTOP');
    try {
      await setLimit(20_000);
      const successor = await nextLeader(platform(), paused);
      await inForce(store, 20_000);
      const { revision } = await store.snapshot(tenant);
      expect(revision.transitions).toBeGreaterThan(old.revision.transitions);
      process.kill(paused.pid, 'SIGCONT');
      // What it would write is refused by Redis, whatever its process believes.
      const late = { ...old.revision, generation: old.revision.generation + 1 };
      expect(await store.engine.configure(oldTree, late)).toMatchObject({ kind: 'fenced', revision });
      // It ends itself and comes back as a candidate.
      await waitFor('the paused process to end', () => !isAlive(paused.pid));
      await setLimit(30_000);
      await inForce(store, 30_000);
      const now = await store.snapshot(tenant);
      expect(now.revision.transitions).toBe(revision.transitions);
      expect((await currentLeader(platform())).identity).toBe(successor.identity);
      expect(await callOf(platform(), agent)).toMatchObject({ status: 200 });
    } finally {
      if (isAlive(paused.pid)) process.kill(paused.pid, 'SIGCONT');
    }
  });
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
