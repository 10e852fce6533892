/** Local mode from files to a running sidecar. */
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { agentEnvironment } from '../trees/agent-environment.ts';
import { createCalendar } from '../trees/calendar.ts';
import { objectId } from '../trees/names.ts';
import { composeSnapshot } from '../trees/snapshot.ts';
import { orAbort } from '../../sidecar/base/abort.ts';
import type { Clock } from '../../sidecar/base/clock.ts';
import { AppError } from '../../sidecar/base/errors.ts';
import { renderSnapshotFile } from '../../sidecar/control/encode.ts';
import type { SidecarSnapshot } from '../../sidecar/control/terms.ts';
import { createAdminEngine } from '../../sidecar/engine/client.ts';
import { connectRedis, type RedisConnection } from '../../sidecar/engine/connect.ts';
import { ENGINE_VERSION } from '../../sidecar/engine/library.ts';
import type { LocalOptions } from './arguments.ts';
import type { LocalConfig } from './config.ts';
import { configureTree, keepConfigured } from './configure.ts';
import { readDocuments } from './documents.ts';
import { renderExports } from './environment.ts';
import { readLocalFile, shippedCatalog } from './files.ts';
import { planLocal, type LocalPlan } from './plan.ts';
import { startRedisServer, type LocalRedis } from './redis-server.ts';
import { startSidecar, type LocalSidecar } from './sidecar.ts';

/** Every sidecar that can read this file is of this checkout. */
const MIN_SIDECAR_VERSION = '0.0.0';

export interface LocalWorld {
  readonly clock: Clock;
  readonly config: LocalConfig;
  /** What a shell may evaluate. */
  readonly say: (text: string) => void;
  /** What people read besides. */
  readonly tell: (text: string) => void;
}

/** Runs until `signal` aborts. Fails with `invalid` when the files are wrong, otherwise with what broke. */
export async function runLocal(options: LocalOptions, world: LocalWorld, signal: AbortSignal): Promise<void> {
  const plan = await decide(options, world);
  for (const warning of plan.warnings) world.tell(`warning: ${warning}`);
  await using folder = await privateFolder();
  await using started = options.redisUrl === null ? await startOwn(folder.path, world, signal) : null;
  const redis = redisSettings(started?.url ?? options.redisUrl ?? '');
  await using connection = connect(redis, world);
  await connection.ready(signal);
  const engine = createAdminEngine({ redis: connection.redis });
  const revision = await configureTree(engine, plan.tree, signal);
  const attributes = { namespace: plan.quota.namespace };
  const snapshot = composeSnapshot({ ...plan, redis, revision, perAgentConcurrency: null, attributes });
  const file = join(folder.path, 'snapshot.json');
  const demands = { engineVersion: ENGINE_VERSION, minSidecarVersion: MIN_SIDECAR_VERSION };
  await writeFile(file, renderSnapshotFile(snapshot, demands), { mode: 0o600 });
  await using sidecar = await startSidecar(file, world.config, world.clock, signal);
  announce(plan, sidecar, started, world);
  const failed = failureOf(sidecar, started);
  const { clock, tell } = world;
  await untilFirst(signal, [
    () => failed,
    (until) => keepConfigured({ engine, tree: plan.tree, revision, clock, tell }, until),
  ]);
}

/** Runs all until the first ends or `signal` aborts, then aborts the others. */
async function untilFirst(
  signal: AbortSignal,
  works: readonly ((until: AbortSignal) => Promise<void>)[],
): Promise<void> {
  const over = new AbortController();
  const until = AbortSignal.any([signal, over.signal]);
  try {
    await orAbort(Promise.race(works.map((work) => work(until))), signal);
  } finally {
    over.abort();
  }
}

async function decide(options: LocalOptions, world: LocalWorld): Promise<LocalPlan> {
  const files = await Promise.all(options.files.map(readLocalFile));
  const decision = planLocal({
    objects: readDocuments(files),
    shipped: shippedCatalog(),
    quota: options.quota,
    calendar: createCalendar(),
    nowMs: world.clock.nowMs(),
  });
  if (!decision.ok) throw new AppError('invalid', decision.problems.join('\n'));
  return decision.plan;
}

interface PrivateFolder extends AsyncDisposable {
  readonly path: string;
}

/** The snapshot in it holds the vendor's key. */
async function privateFolder(): Promise<PrivateFolder> {
  const path = await mkdtemp(join(tmpdir(), 'glmquota-local-'));
  await chmod(path, 0o700);
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

async function startOwn(folder: string, world: LocalWorld, signal: AbortSignal): Promise<LocalRedis> {
  return startRedisServer({ folder, env: world.config.variables, clock: world.clock }, signal);
}

function redisSettings(text: string): SidecarSnapshot['redis'] {
  const url = new URL(text);
  const { username, password } = url;
  url.username = '';
  url.password = '';
  const word = (encoded: string): string | null => (encoded === '' ? null : decodeURIComponent(encoded));
  return { url: url.href.replace(/\/$/, ''), username: word(username), password: word(password), caPem: null };
}

/** Says once what is wrong with Redis, not each time it is tried again. */
function connect(redis: SidecarSnapshot['redis'], world: LocalWorld): RedisConnection {
  let last = '';
  const onError = ({ message }: AppError): void => {
    if (message !== last) world.tell(`Redis ${redis.url}: ${message}; trying again`);
    last = message;
  };
  return connectRedis(redis, { name: 'glmquota-local', onError });
}

function announce(plan: LocalPlan, sidecar: LocalSidecar, redis: LocalRedis | null, world: LocalWorld): void {
  const { quota, account } = plan;
  const billing = account.delivery?.billing ?? 'CodingPlan';
  world.tell(`GLMQuota ${objectId(quota)} under GLMAccount ${objectId(account)} → ${account.delivery?.origin ?? ''}`);
  world.tell(`LeaseService ${sidecar.grpcAddress}, metrics ${sidecar.adminOrigin}/metrics`);
  if (redis) world.tell(`Redis ${redis.url}; more sidecars share its limits with --redis ${redis.url}`);
  world.say(renderExports(agentEnvironment(sidecar.origin, billing)));
  world.tell('Ready. Export the lines above in the shell of your agents; Ctrl-C ends.');
}

async function failureOf(sidecar: LocalSidecar, redis: LocalRedis | null): Promise<never> {
  const ends = [sidecar.ended.then((how) => `the sidecar ${how}`)];
  if (redis) ends.push(redis.ended.then((how) => `redis-server ${how}`));
  throw new AppError('unavailable', await Promise.race(ends));
}
