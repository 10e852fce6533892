/** `npm run demo [-- --keep]`: the product on a real cluster, then the same load without it. Exit 0 only if that makes the difference. */
import { parseArgs } from 'node:util';
import { startCluster } from '../cluster/cluster.ts';
import { installChart, loadImages } from '../support/installation.ts';
import type { Report } from '../support/glm-simulator/report.ts';
import { startVendor } from '../support/vendor-in-cluster.ts';
import { type AgentLogs, tally } from './agent-log.ts';
import { CONCURRENCY, KEY, PLAN_PROMPTS, type Team, TEAMS, WINDOW_SECONDS } from './manifests.ts';
import * as scenes from './scenes.ts';
import { formatTable, type Row } from './table.ts';

const { values } = parseArgs({ options: { keep: { type: 'boolean' }, help: { type: 'boolean' } } });
if (values.help) {
  console.log(`Usage: npm run demo [-- --keep]
Brings up a real Kubernetes cluster, installs the chart, and lets two teams of agents share one small GLM plan
through injected sidecars; then runs the same agents straight at the (simulated) vendor. About five minutes once the
programs are built; the first time, add ten. Removes everything it made, unless --keep.`);
  process.exit(0);
}

const started = performance.now();
const say = (line: string): void => console.log(line.trimEnd());
const log = (line: string): void => console.log(`  [${Math.round((performance.now() - started) / 1000)} s] ${line}`);
const title = (text: string): void => console.log(`\n== ${text}`);

const stop = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const)
  process.once(signal, () => stop.abort(new Error(`stopped by ${signal}`)));

interface RunReport {
  readonly rows: readonly Row[];
  readonly overAdmission: number;
  readonly vendorRefusals: number;
}

interface Spent {
  readonly credits: string;
  readonly cost: string;
}

/** As our own counters have it. */
async function spentByQuota({ cluster }: scenes.Stage, team: Team): Promise<Spent> {
  const usage = (await scenes.quotaStatus(cluster, team)).usage ?? [];
  const used = (name: string): string => usage.find(({ limit }) => limit === name)?.used ?? '0';
  return { credits: used('credits'), cost: used('cost') };
}

/** As the vendor's bill has it. */
function spentByKey({ rows }: Report, team: Team): Spent {
  const own = rows.filter(({ key }) => key === team.controlKey);
  const sum = (value: (row: Report['rows'][number]) => number): string =>
    String(Number(own.reduce((total, row) => total + value(row), 0).toFixed(9)));
  return { credits: sum(({ credits }) => credits), cost: sum(({ usd }) => usd) };
}

/** Rows of one run: what the agents saw, and what the vendor counted. */
async function summarize(run: string, stage: scenes.Stage, logs: readonly AgentLogs[]): Promise<RunReport> {
  const report = await stage.vendor.control.report();
  const { concurrency, windowCalls } = report.overAdmission;
  const rows = await Promise.all(
    TEAMS.map(async (team, i): Promise<Row> => {
      const counted = tally((await logs[i]?.lines()) ?? []);
      const spent = run === 'glmquota' ? await spentByQuota(stage, team) : spentByKey(report, team);
      return { run, pool: team.name, ...counted, ...spent, overAdmission: '' };
    }),
  );
  const sum = (key: 'calls' | 'granted' | 'refusedByUs' | 'refusedByVendor' | 'tokens'): number =>
    rows.reduce((total, row) => total + row[key], 0);
  const vendorRefusals = Object.values(report.refused).reduce((total, count) => total + count, 0);
  const total: Row = {
    run,
    pool: 'as the vendor saw it',
    calls: report.calls,
    granted: report.accepted,
    refusedByUs: sum('refusedByUs'),
    refusedByVendor: vendorRefusals,
    tokens: report.tokens.input + report.tokens.cached + report.tokens.output,
    credits: String(report.credits),
    cost: String(report.usd),
    overAdmission: String(concurrency + windowCalls),
  };
  return { rows: [...rows, total], overAdmission: concurrency + windowCalls, vendorRefusals };
}

async function main(): Promise<number> {
  title('A real cluster');
  const cluster = await startCluster({ log, signal: stop.signal });
  await using stack = new AsyncDisposableStack();
  stack.use(cluster);
  log('images: operator and sidecar, Redis, the vendor simulator, the agents');
  const images = await loadImages(cluster, log);
  log(
    'starting the vendor: one account, a plan of ' +
      `${PLAN_PROMPTS} prompts a ${WINDOW_SECONDS} s window, ${CONCURRENCY} calls in flight per model`,
  );
  const window = {
    name: 'five-hour',
    resource: 'Prompts' as const,
    amount: PLAN_PROMPTS,
    durationMs: WINDOW_SECONDS * 1000,
  };
  const account = {
    id: 'demo',
    keys: [KEY, ...TEAMS.map(({ controlKey }) => controlKey)],
    billing: 'CodingPlan' as const,
    windows: [window],
    concurrency: { default: CONCURRENCY },
  };
  const vendor = await startVendor(cluster, images['glm-simulator'], { accounts: [account] });
  log('helm install --wait');
  await installChart(cluster, images, { allowedOrigins: [vendor.origin] });
  const stage: scenes.Stage = { cluster, images, vendor, say };

  title('One account, two teams with different shares');
  await scenes.applyQuotas(stage);
  title('Two pools of agents: the sidecar starts first');
  const logs = await scenes.startPools(stage);
  title('Calls are granted until the window is used up');
  await scenes.useUpWindow(stage, logs);
  title('A quota is raised');
  await scenes.raiseQuota(stage, logs);
  title('An agent is killed in the middle of a call');
  await scenes.killAgent(stage);
  const ours = await summarize('glmquota', stage, logs);

  title('Control run: the same load without sidecars');
  await vendor.control.setWindow('demo', 'five-hour', { used: 0, openedMs: null });
  await vendor.control.resetReport();
  const control = await summarize('control', stage, await scenes.controlRun(stage, 20));

  title('Side by side');
  say(formatTable([...ours.rows, ...control.rows]));
  const passed =
    ours.overAdmission === 0 && ours.vendorRefusals === 0 && control.overAdmission > 0 && control.vendorRefusals > 0;
  say(
    passed
      ? `\nWith glmquota: nothing over the limits, nothing refused by the vendor. Without: ${control.overAdmission} calls over the limits, ${control.vendorRefusals} refused by the vendor.`
      : `\nFAILED: with glmquota ${ours.overAdmission} over-admitted and ${ours.vendorRefusals} refused by the vendor (both must be 0); without ${control.overAdmission} and ${control.vendorRefusals} (both must not).`,
  );
  if (values.keep) {
    say(
      `\nThe cluster stays: export KUBECONFIG=${cluster.kubeconfigPath}\nkubectl: ${cluster.kubectlCommand[0]}\nTo remove it: ${await cluster.keep()}`,
    );
  }
  return passed ? 0 : 1;
}

try {
  process.exitCode = await main();
} catch (reason) {
  console.error(`demo: ${reason instanceof Error ? reason.message : String(reason)}`);
  process.exitCode = 1;
}
