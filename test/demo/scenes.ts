/** The demo's scenes, in order; each says what it shows and fails when it does not come to pass. */
import type { Cluster } from '../cluster/cluster.ts';
import type { Images, Log } from '../support/installation.ts';
import type { VendorInCluster } from '../support/vendor-in-cluster.ts';
import { waitFor } from '../cluster/wait.ts';
import { AgentLogs } from './agent-log.ts';
import * as objects from './manifests.ts';

export interface Stage {
  readonly cluster: Cluster;
  readonly images: Images;
  readonly vendor: VendorInCluster;
  readonly say: Log;
}

interface QuotaStatus {
  readonly usage?: readonly {
    readonly limit: string;
    readonly used: string;
    readonly amount: string;
    readonly resetsAt?: string;
  }[];
  readonly conditions?: readonly { readonly type: string; readonly status: string; readonly message: string }[];
}

export async function apply(cluster: Cluster, all: readonly objects.DemoObject[]): Promise<void> {
  await cluster.kubectl(['apply', '-f', '-'], { stdin: all.map((each) => JSON.stringify(each)).join('\n---\n') });
}

export async function quotaStatus(cluster: Cluster, team: objects.Team): Promise<QuotaStatus> {
  const quota = JSON.parse(await cluster.kubectl(['get', 'glmq', team.name, '-n', team.name, '-o', 'json'])) as {
    status?: QuotaStatus;
  };
  return quota.status ?? {};
}

/** Applies account and quotas and waits until they are in force. */
export async function applyQuotas({ cluster, vendor, say }: Stage): Promise<void> {
  await apply(cluster, objects.teamNamespaces());
  await apply(cluster, objects.accountObjects(vendor.origin, vendor.caPem));
  await apply(
    cluster,
    objects.TEAMS.map((team) => objects.quotaObject(team, team.share)),
  );
  for (const team of objects.TEAMS) {
    await cluster.kubectl(['wait', 'glmq', team.name, '-n', team.name, '--for=condition=Ready', '--timeout=60s']);
  }
  say(await cluster.kubectl(['get', 'glma,glmq', '-A']));
}

/** Two pools start; their pods are Ready with the sidecar first. */
export async function startPools({ cluster, images, say }: Stage): Promise<readonly AgentLogs[]> {
  await apply(
    cluster,
    objects.TEAMS.map((team) => objects.poolObject(team, images['demo-agent'].reference)),
  );
  const selector = 'glmquota.io/pool=agents';
  for (const team of objects.TEAMS) {
    await waitFor(`the pods of ${team.name}`, async () => {
      const ready = await cluster.kubectl([
        'get',
        'ap',
        'agents',
        '-n',
        team.name,
        '-o',
        'jsonpath={.status.readyReplicas}',
      ]);
      return ready === '2';
    });
  }
  const path =
    'jsonpath={range .items[*]}{.metadata.namespace}/{.metadata.name}: starts {.spec.initContainers[*].name}, then {.spec.containers[*].name}{"\\n"}{end}';
  say(await cluster.kubectl(['get', 'pods', '-A', '-l', selector, '-o', path]));
  return objects.TEAMS.map((team) => new AgentLogs(cluster, team.name, selector));
}

/** Both teams are granted calls, then use up their share of the window and are told when it opens again. */
export async function useUpWindow({ say }: Stage, logs: readonly AgentLogs[]): Promise<void> {
  for (const [i, team] of objects.TEAMS.entries()) {
    const refusal = await waitFor(
      `${team.name} using up its window`,
      async () => (await logs[i]?.lines())?.find(({ deniedBy }) => deniedBy?.endsWith('/five-hour')),
      { deadlineMs: 120_000, intervalMs: 500 },
    );
    const granted = (await logs[i]?.lines())?.filter(({ result }) => result === 'granted').length ?? 0;
    say(
      `${team.name}: ${granted} calls granted, then refused with ${refusal.status} by ${refusal.deniedBy}; come back at ${refusal.retryAt}`,
    );
  }
}

/** More for team-b by one `kubectl apply`: its calls flow again in the same window. */
export async function raiseQuota({ cluster, say }: Stage, logs: readonly AgentLogs[]): Promise<void> {
  const team = objects.TEAMS[1];
  const countGranted = async (): Promise<number> =>
    (await logs[1]?.lines())?.filter(({ result }) => result === 'granted').length ?? 0;
  const before = await countGranted();
  say(`$ kubectl apply: five-hour share of ${team.name} ${team.share} -> 50%`);
  await apply(cluster, [objects.quotaObject(team, '50%')]);
  const after = await waitFor('calls flowing after the raise', async () => {
    const now = await countGranted();
    return now >= before + 5 && now;
  });
  say(`${team.name}: ${before} calls granted before the raise, ${after} a moment later`);
}

/** An agent dies in the middle of a call: the slot it held is given to others. */
export async function killAgent({ cluster, images, vendor, say }: Stage): Promise<void> {
  for (const team of objects.TEAMS) await cluster.kubectl(['scale', 'ap', 'agents', '-n', team.name, '--replicas=0']);
  await waitFor('the pools to be empty', async () => (await vendor.control.report()).inFlight === 0, {
    deadlineMs: 90_000,
  });
  const team = objects.TEAMS[0];
  await apply(cluster, [objects.longCallPod(team, images['demo-agent'].reference)]);
  await waitFor('a long call in flight', async () => (await vendor.control.report()).inFlight === 1, {
    deadlineMs: objects.WINDOW_SECONDS * 1000 + 60_000,
  });
  const inFlight = async (): Promise<string> =>
    cluster.kubectl(['get', 'glma', 'demo', '-n', 'glm', '-o', 'jsonpath={.status.concurrency.inFlight}']);
  await waitFor('its lease in the account status', async () => (await inFlight()) === '1');
  say('a call of a minute is in flight: status.concurrency.inFlight is 1');
  await cluster.kubectl(['delete', 'pod', 'long-call', '-n', team.name, '--grace-period=0', '--force']);
  const started = performance.now();
  await waitFor('the lease coming back', async () => (await inFlight()) === '0');
  say(`its agent was killed; ${((performance.now() - started) / 1000).toFixed(1)} s later inFlight is 0 again`);
}

/** The same load without us. */
export async function controlRun(
  { cluster, images, vendor, say }: Stage,
  seconds: number,
): Promise<readonly AgentLogs[]> {
  for (const team of objects.TEAMS) {
    await apply(cluster, objects.controlDeployment(team, images['demo-agent'].reference, vendor));
    await cluster.kubectl(['rollout', 'status', 'deployment/control', '-n', team.name, '--timeout=60s']);
  }
  say(`the same agents run for ${seconds} s with the vendor's key in their hands`);
  const logs = objects.TEAMS.map((team) => new AgentLogs(cluster, team.name, 'app=control'));
  const until = performance.now() + seconds * 1000;
  await waitFor(
    'the control run',
    async () => {
      await Promise.all(logs.map((each) => each.lines()));
      return performance.now() >= until;
    },
    { deadlineMs: seconds * 2000 + 30_000, intervalMs: 1000 },
  );
  for (const team of objects.TEAMS)
    await cluster.kubectl(['scale', 'deployment/control', '-n', team.name, '--replicas=0']);
  return logs;
}
