/** What a bench runs against: a real Redis and the vendor's simulator, each a process of its own, and trees as users write them. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { parseGlmCatalog } from '#operator/api/v1alpha1/glmcatalog.ts';
import { configureTree } from '#operator/local/configure.ts';
import { readDocuments } from '#operator/local/documents.ts';
import { planLocal } from '#operator/local/plan.ts';
import { createCalendar } from '#operator/trees/calendar.ts';
import { composeSnapshot } from '#operator/trees/snapshot.ts';
import { systemClock } from '#sidecar/base/clock.ts';
import { renderSnapshotFile } from '#sidecar/control/encode.ts';
import type { SidecarSnapshot } from '#sidecar/control/terms.ts';
import { createAdminEngine } from '#sidecar/engine/client.ts';
import { connectRedis, type RedisConnection } from '#sidecar/engine/connect.ts';
import { ENGINE_VERSION } from '#sidecar/engine/library.ts';
import { defaultCatalogObject } from '#test/support/default-catalog.ts';
import { SimulatorControl } from '#test/support/glm-simulator/control.ts';
import type { AccountConfig } from '#test/support/glm-simulator/terms.ts';
import { startRedis, type TestRedis } from '#test/support/redis.ts';
import { own, temporaryFolder } from './owned.ts';

const SIMULATOR = resolve(import.meta.dirname, '../support/glm-simulator/main.ts');
export const CHAT = '/api/coding/paas/v4/chat/completions';
export const MODEL = 'glm-5.3';
/** Straight to the vendor, without limits of any kind. */
export const DIRECT_KEY = 'direct-id.direct-secret';

/** One account, a team's quota below it and the agent's below that; every level has windows, the account slots as well. */
export interface TreeOptions {
  readonly name: string;
  /** Calls in flight a model, to us and to the vendor. */
  readonly concurrency: number;
  /** Prompts of the account's window, to us and to the vendor. */
  readonly prompts: number;
}

export interface BenchTree {
  readonly snapshot: SidecarSnapshot;
  /** For the sidecar. */
  readonly snapshotFile: string;
}

export interface World extends AsyncDisposable {
  readonly redisVersion: string;
  readonly redis: RedisConnection;
  /** Of Redis, on 127.0.0.1. */
  readonly port: number;
  /** Origin of the simulator. */
  readonly vendor: string;
  readonly control: SimulatorControl;
  readonly trees: ReadonlyMap<string, BenchTree>;
}

export async function openWorld(trees: readonly TreeOptions[]): Promise<World> {
  await using stack = new AsyncDisposableStack();
  const { path: folder } = stack.use(await temporaryFolder('glmquota-bench-'));
  // As the chart configures it.
  const server = stack.use(await startRedis({ config: ['appendonly yes', 'appendfsync everysec'] }));
  const redis = stack.use(connect(server));
  await redis.ready(AbortSignal.timeout(10_000));
  // Each tree has an engine of its own on this connection, and each listens for its end.
  redis.redis.setMaxListeners(0);
  const vendor = await startVendor(folder, trees, stack);
  const opened = new Map<string, BenchTree>();
  for (const tree of trees) opened.set(tree.name, await openTree(tree, { folder, server, redis, origin: vendor.url }));
  const owned = stack.move();
  return {
    redisVersion: /redis_version:(\S+)/.exec(await redis.redis.info('server'))?.[1] ?? 'unknown',
    redis,
    port: server.port,
    vendor: vendor.url,
    control: new SimulatorControl(vendor.controlUrl),
    trees: opened,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

export function treeOf(world: World, name: string): BenchTree {
  const tree = world.trees.get(name);
  if (tree === undefined) throw new Error(`no tree ${name}`);
  return tree;
}

function connect(server: TestRedis): RedisConnection {
  const settings = { url: server.url, username: null, password: null, caPem: null };
  return connectRedis(settings, { name: 'glmquota-bench', onError: (error) => console.error(error.message) });
}

const keyOf = (name: string): string => `${name}-id.${name}-secret`;

async function startVendor(
  folder: string,
  trees: readonly TreeOptions[],
  stack: AsyncDisposableStack,
): Promise<{ url: string; controlUrl: string }> {
  const limited = trees.map(({ name, concurrency, prompts }): AccountConfig => ({
    id: name,
    keys: [keyOf(name)],
    concurrency: { default: concurrency },
    windows: [{ name: 'five-hour', resource: 'Prompts', amount: prompts, durationMs: 5 * 3_600_000 }],
  }));
  const accounts: AccountConfig[] = [{ id: 'direct', keys: [DIRECT_KEY] }, ...limited];
  const file = join(folder, 'simulator.json');
  await writeFile(file, JSON.stringify({ accounts }));
  const args = [SIMULATOR, '--config', file];
  const child = own(spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] }));
  const exited = once(child, 'exit');
  stack.defer(async () => {
    child.kill('SIGKILL');
    await exited;
  });
  const failed = exited.then(() => {
    throw new Error('the simulator ended');
  });
  failed.catch(() => undefined);
  const [line] = (await Promise.race([once(createInterface({ input: child.stdout }), 'line'), failed])) as [string];
  return JSON.parse(line) as { url: string; controlUrl: string };
}

interface TreeParts {
  readonly folder: string;
  readonly server: TestRedis;
  readonly redis: RedisConnection;
  readonly origin: string;
}

async function openTree(tree: TreeOptions, { folder, server, redis, origin }: TreeParts): Promise<BenchTree> {
  const plan = planOf(tree, origin);
  const engine = createAdminEngine({ redis: redis.redis });
  const revision = await configureTree(engine, plan.tree, AbortSignal.timeout(10_000));
  const settings = { url: server.url, username: null, password: null, caPem: null };
  const snapshot = composeSnapshot({ ...plan, redis: settings, revision, perAgentConcurrency: null, attributes: {} });
  const snapshotFile = join(folder, `${tree.name}.json`);
  const demands = { engineVersion: ENGINE_VERSION, minSidecarVersion: '0.0.0' };
  await writeFile(snapshotFile, renderSnapshotFile(snapshot, demands), { mode: 0o600 });
  return { snapshot, snapshotFile };
}

function planOf(tree: TreeOptions, origin: string) {
  const shipped = parseGlmCatalog(defaultCatalogObject());
  if (!shipped.ok) throw new Error('the shipped catalog is wrong');
  const decision = planLocal({
    objects: readDocuments([{ name: 'bench.yaml', text: documentsOf(tree, origin) }]),
    shipped: shipped.value,
    quota: { namespace: tree.name, name: 'agent' },
    calendar: createCalendar(),
    nowMs: systemClock.nowMs(),
  });
  if (!decision.ok) throw new Error(decision.problems.join('\n'));
  if (decision.plan.warnings.length > 0) throw new Error(decision.plan.warnings.join('\n'));
  return decision.plan;
}

function documentsOf({ name, concurrency, prompts }: TreeOptions, origin: string): string {
  return `
apiVersion: v1
kind: Secret
metadata: { name: key, namespace: ${name} }
type: glmquota.io/credential
stringData: { apiKey: ${keyOf(name)}, origin: "${origin}" }
---
apiVersion: glmquota.io/v1alpha1
kind: GLMAccount
metadata: { name: account, namespace: ${name} }
spec:
  billing: CodingPlan
  region: Custom
  credentialSecretRef: { name: key }
  concurrency: { mode: Fixed, max: ${concurrency} }
  limits:
    - { name: five-hour, resource: Prompts, amount: ${prompts}, window: { type: Anchored, duration: 5h } }
    - { name: weekly, resource: Credits, amount: 1000000000, window: { type: Anchored, duration: 168h } }
---
apiVersion: glmquota.io/v1alpha1
kind: GLMQuota
metadata: { name: team, namespace: ${name} }
spec:
  accountRef: { name: account }
  limits:
    - { name: weekly, amount: "80%" }
    - { name: monthly-cost, resource: Cost, amount: 1000000, window: { type: Calendar, period: Month, timeZone: Europe/Paris } }
---
apiVersion: glmquota.io/v1alpha1
kind: GLMQuota
metadata: { name: agent, namespace: ${name} }
spec:
  parentRef: { name: team }
  limits:
    - { name: weekly, amount: "50%" }
    - { name: tokens-per-minute, resource: Tokens, amount: 1000000000000, window: { type: Sliding, duration: 1m } }
`;
}
