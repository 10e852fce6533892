/** The role `edge`: ControlService and injector on every replica, fed by caches; its readiness never depends on Redis. */
import type { Registry } from 'prom-client';
import { type Cell, createCell } from '../sidecar/base/cell.ts';
import type { Clock } from '../sidecar/base/clock.ts';
import { AppError } from '../sidecar/base/errors.ts';
import type { Log } from '../sidecar/base/log.ts';
import type { SnapshotDemands } from '../sidecar/control/encode.ts';
import type { AdminEngine } from '../sidecar/engine/port.ts';
import { trustAuthority } from './certificates/authority.ts';
import { type KeyPair, notAfterMs, signServerCertificate } from './certificates/x509.ts';
import {
  type CredentialFacts,
  feedWorld,
  type OurCaches,
  openCaches,
  watchResource,
} from './controllers/world/caches.ts';
import { PODS } from './controllers/world/kinds.ts';
import { TreeHashes } from './controllers/world/tree-hashes.ts';
import { World } from './controllers/world/world.ts';
import { podSource, projectPod } from './edge/pods.ts';
import { startEdge } from './edge/server.ts';
import type { CacheView, RedisAccess, TreeRevisions } from './edge/terms.ts';
import { tokenReviewer } from './edge/token-reviewer.ts';
import type { KubeClient } from './runtime/client.ts';
import { type Health, startHealth } from './runtime/health.ts';
import type { RuntimeMetrics } from './runtime/metrics.ts';
import type { KubeObject } from './runtime/resources.ts';
import type { Store } from './runtime/store.ts';
import { createCalendar } from './trees/calendar.ts';
import { readCredential, type ReadCredential, readCredentialFacts } from './trees/credentials.ts';
import { objectId } from './trees/names.ts';
import { rotationOf } from './tree-users.ts';
import { contextSource } from './webhook/context.ts';
import { LABEL_INJECTED } from './webhook/patch.ts';
import { startWebhook } from './webhook/server.ts';
import type { SidecarSettings } from './webhook/sidecar-container.ts';

/** What this role watches: labels of its metrics. */
export const EDGE_RESOURCES = ['glmaccounts', 'glmquotas', 'glmcatalogs', 'secrets', 'namespaces', 'pods'];

const LEAF_DAYS = 7;
const RENEWAL_LOOK_MS = 60_000;
const TRUST_LOOK_MS = 30_000;
const TRUST_RETRY_MS = 1000;
/** Long enough that nobody is sent here any more when the servers close. */
const DRAIN_MS = 5000;

export interface EdgeRoleOptions {
  readonly client: KubeClient;
  readonly metrics: RuntimeMetrics;
  /** Signs the leaves of both servers. */
  readonly authority: KeyPair;
  /** Names under which clients reach the servers. */
  readonly dnsNames: readonly string[];
  /** The MutatingWebhookConfiguration that shall trust the authority; null: somebody else sees to it. */
  readonly injectorConfiguration: string | null;
  readonly sidecar: Omit<SidecarSettings, 'controlCaPem'>;
  readonly verifyPeerAddress: boolean;
  readonly demands: SnapshotDemands;
  readonly allowedOrigins: readonly string[];
  readonly operatorNamespace: string;
  readonly engine: Pick<AdminEngine, 'snapshot' | 'config' | 'hashOf'>;
  /** How the sidecars of a tree reach Redis; null until its Secret is there. */
  readonly redis: Cell<RedisAccess | null>;
  readonly host: string;
  readonly ports: { readonly health: number; readonly webhook: number; readonly control: number };
  readonly clock: Clock;
  readonly log: Log;
  readonly registry: Registry;
}

/** Of a Secret edge keeps the key too: it is what sidecars are sent. */
interface HeldCredential extends CredentialFacts {
  readonly read: ReadCredential;
}

/** Runs until the signal aborts: then the probes fail first, and the servers close when nobody is sent here any more. */
export async function runEdgeRole(options: EdgeRoleOptions, signal: AbortSignal): Promise<void> {
  const { client, metrics, clock, log, registry, engine } = options;
  const cacheOptions = { client, clock, log, metrics };
  const { caches, reflectors } = openCaches(cacheOptions, holdCredential);
  const pods = watchResource(cacheOptions, PODS, projectPod, { labelSelector: LABEL_INJECTED });
  const stores = [...Object.values(caches), pods.store];
  const world = new World({
    caches,
    allowedOrigins: options.allowedOrigins,
    operatorNamespace: options.operatorNamespace,
    calendar: createCalendar(),
    clock,
    log,
    recall: async (key, each) => engine.config(key, each),
  });
  const background = new AbortController();
  const ready = createCell(false);
  await using health = await startHealth({
    host: options.host,
    port: options.ports.health,
    live: {},
    ready: { serving: () => assertServing(ready, stores) },
    registry,
    observe: () => stores.forEach((store) => metrics.storeObjects.set({ resource: store.name }, store.size)),
    clock,
  });
  feedWorld(world, caches, background.signal);
  const all = [...reflectors, pods.reflector];
  const running = [...all.map((each) => each.run(background.signal)), world.run(background.signal)];
  try {
    const synced = await Promise.all(stores.map((store) => store.waitSynced(signal))).catch(() => null);
    if (synced !== null) await serve(options, { world, caches, pods: pods.store, ready, health }, signal);
  } finally {
    background.abort();
    await Promise.all(running);
    log.info('edge.stopped');
  }
}

interface Served {
  readonly world: World;
  readonly caches: OurCaches<HeldCredential>;
  readonly pods: Store<ReturnType<typeof projectPod>>;
  readonly ready: Cell<boolean>;
  readonly health: Health;
}

async function serve(options: EdgeRoleOptions, served: Served, signal: AbortSignal): Promise<void> {
  const { authority, clock, log, registry, host, ports, client, engine } = options;
  const { world, caches, ready, health } = served;
  const certificate = await signLeaf(options);
  await using stack = new AsyncDisposableStack();
  const control = stack.use(
    await startEdge({
      address: `${host}:${ports.control}`,
      certificate,
      sidecarImage: options.sidecar.image,
      verifyPeerAddress: options.verifyPeerAddress,
      demands: options.demands,
      pods: stack.use(podSource(served.pods)),
      reviewer: tokenReviewer(client),
      world,
      caches: cacheView(caches),
      revisions: revisionsOf(engine),
      redis: options.redis,
      ready,
      clock,
      log,
      registry,
    }),
  );
  const settings = { ...options.sidecar, controlCaPem: authority.certPem };
  const namespaces = () => new Map(Array.from(caches.namespaces.entries(), ({ key, value }) => [key, value] as const));
  const context = contextSource({ world: () => world.current, namespaces }, settings);
  const webhook = stack.use(await startWebhook({ host, port: ports.webhook, certificate, context, log, registry }));
  log.info('edge.started', { control: control.port, webhook: webhook.port, health: health.port });
  const renewing = renew(options, certificate, signal, (next) => {
    control.setCertificate(next);
    webhook.setCertificate(next);
  });
  await Promise.all([renewing, keepTrusted(options, signal, () => ready.set(true))]);
  ready.set(false);
  health.drain();
  await clock.sleep(DRAIN_MS);
}

function holdCredential(secret: KubeObject): HeldCredential {
  return { facts: readCredentialFacts(secret), read: readCredential(secret) };
}

function assertServing(ready: Cell<boolean>, stores: readonly { name: string; hasSynced: boolean }[]): void {
  const missing = stores.filter((store) => !store.hasSynced).map((store) => store.name);
  if (missing.length > 0) throw new AppError('unavailable', `not synced: ${missing.join(', ')}`);
  if (!ready.value) throw new AppError('unavailable', 'not listening yet, or not trusted by the API server');
}

function cacheView(caches: OurCaches<HeldCredential>): CacheView {
  return {
    namespaces: () =>
      new Map(Array.from(caches.namespaces.entries(), ({ key, value }) => [key, value.labels] as const)),
    credential: (secret) => {
      const read = caches.credentials.get(objectId(secret))?.read;
      return read?.ok ? read.credential : null;
    },
    rotation: (account) => rotationOf(caches.accounts.get(objectId(account))),
  };
}

function revisionsOf(engine: EdgeRoleOptions['engine']): TreeRevisions {
  const hashes = new TreeHashes(engine);
  return {
    read: async (key, signal) => engine.snapshot(key, signal),
    hashOf: (tree) => hashes.of(tree),
  };
}

async function signLeaf({ authority, dnsNames, clock }: EdgeRoleOptions): Promise<KeyPair> {
  const subject = { commonName: 'glmquota-edge', dnsNames };
  return signServerCertificate(authority, subject, { nowMs: clock.nowMs(), days: LEAF_DAYS });
}

/** Signs a new leaf when a third of the old one's life is left. Ends with the signal. */
async function renew(
  options: EdgeRoleOptions,
  first: KeyPair,
  signal: AbortSignal,
  use: (certificate: KeyPair) => void,
): Promise<void> {
  const { clock, log } = options;
  const restMs = (LEAF_DAYS * 86_400_000) / 3;
  let endsAtMs = notAfterMs(first.certPem);
  while (!signal.aborted) {
    if (clock.nowMs() > endsAtMs - restMs) {
      const next = await signLeaf(options);
      endsAtMs = notAfterMs(next.certPem);
      use(next);
      log.info('edge.certificateRenewed', { endsAt: new Date(endsAtMs).toISOString() });
    }
    await clock.sleep(RENEWAL_LOOK_MS, signal).catch(() => undefined);
  }
}

/**
 * Writes the authority into the webhook configuration, and again when somebody removes it. Ends with the signal. Calls
 * `onTrusted` whenever it stands there: before the first time the API server could not call the injector, and whoever
 * waits for readiness before making pods would see them refused.
 */
async function keepTrusted(options: EdgeRoleOptions, signal: AbortSignal, onTrusted: () => void): Promise<void> {
  const { client, injectorConfiguration, authority, clock, log } = options;
  if (injectorConfiguration === null) {
    onTrusted();
    return;
  }
  while (!signal.aborted) {
    const waitMs = await trustAuthority(client, injectorConfiguration, authority.certPem, signal).then(
      () => {
        onTrusted();
        return TRUST_LOOK_MS;
      },
      (reason: unknown) => {
        if (!signal.aborted) log.warn('edge.trustFailed', { cause: AppError.from(reason).message });
        return TRUST_RETRY_MS;
      },
    );
    await clock.sleep(waitMs, signal).catch(() => undefined);
  }
}
