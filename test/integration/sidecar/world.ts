import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { Redis } from 'ioredis';
import type { SidecarSnapshot } from '#sidecar/control/terms.ts';
import { hashName } from '#sidecar/base/ids.ts';
import { createAdminEngine } from '#sidecar/engine/client.ts';
import type { AdminEngine } from '#sidecar/engine/port.ts';
import { node } from '#test/support/engine.ts';
import type { AuditReport, TreeSnapshot } from '#sidecar/engine/terms.ts';
import type { LimitConfig, NodeConfig, Resource } from '#sidecar/engine/tree-terms.ts';
import { defaultCatalog } from '#test/support/default-catalog.ts';
import { SimulatorControl } from '#test/support/glm-simulator/control.ts';
import { type Simulator, startSimulator } from '#test/support/glm-simulator/simulator.ts';
import { makeTestPki, type TestPki } from '#test/support/redis-pki.ts';
import { startRedis, type TestRedis } from '#test/support/redis.ts';
import { MAIN, type RunningSidecar, startSidecar } from './fixture.ts';

export const CHAT = '/api/coding/paas/v4/chat/completions';
const KEY = 'real-id.real-secret';
const LEAF = 'quota:team/a';
const ACCOUNT = { namespace: 'glm', name: 'max', uid: 'uid-1' };
const COUNTED: readonly Resource[] = ['Requests', 'Prompts', 'OutputTokens', 'Tokens', 'Credits', 'Cost'];
const PLENTY = 2 ** 50;
const HOUR_MS = 3_600_000;
export const TREE_KEY = hashName(`${ACCOUNT.namespace}/${ACCOUNT.name}`, 26);
const REVISION = { leaseCreatedMs: 1, transitions: 0, generation: 1 };

export const NOTHING = { drifts: 0, excess: 0 };

export interface WorldOptions {
  /** Calls in flight the vendor allows a model and the tree allows the account; default 4. */
  readonly concurrency?: number;
  /** Calls in flight the vendor allows a model, if that is another number than the tree's. */
  readonly vendorConcurrency?: number;
  /** Changes the tree's nodes. */
  readonly nodes?: (node: NodeConfig) => NodeConfig;
  /** Nodes besides. */
  readonly more?: readonly NodeConfig[];
  /** Requests a window admits; default plenty. */
  readonly requests?: number;
  /** The vendor and Redis speak TLS with certificates of a CA of their own. */
  readonly tls?: boolean;
  readonly binding?: Partial<SidecarSnapshot['binding']>;
  /** Environment of the sidecars. */
  readonly env?: Readonly<Record<string, string>>;
}

/** A quota whose calls wait up to a minute. */
export const PATIENT = { waiting: { mode: 'UntilWindow', maxWaitMs: 60_000 } } as const;

/** Redis with one account's tree, the vendor, and the sidecars started into it. */
export class World implements AsyncDisposable {
  readonly redis: TestRedis;
  readonly simulator: Simulator;
  readonly control: SimulatorControl;
  readonly sidecars: RunningSidecar[] = [];
  readonly #admin: AdminEngine;
  readonly #options: WorldOptions;
  readonly #vendorCa: string | null;
  readonly #opened: AsyncDisposableStack;

  private constructor(parts: Pick<World, 'redis' | 'simulator'>, admin: AdminEngine, more: Opened) {
    this.redis = parts.redis;
    this.simulator = parts.simulator;
    this.control = new SimulatorControl(parts.simulator.controlUrl);
    this.#admin = admin;
    this.#options = more.options;
    this.#vendorCa = more.pki?.ca ?? null;
    this.#opened = more.stack;
  }

  static async start(options: WorldOptions = {}): Promise<World> {
    await using stack = new AsyncDisposableStack();
    const { tls = false } = options;
    const redis = stack.use(await startRedis({ durable: true, tls }));
    const account = {
      id: 'max',
      keys: [KEY],
      concurrency: { default: options.vendorConcurrency ?? options.concurrency ?? 4 },
    };
    const pki = tls ? await makeTestPki() : null;
    const simulator = stack.use(await startSimulator({ config: { accounts: [account] }, ...vendorTls(pki) }));
    const connection = new Redis(redis.socketPath, { retryStrategy: () => 50 });
    connection.on('error', () => undefined);
    stack.defer(() => connection.disconnect());
    const admin = createAdminEngine({ redis: connection });
    await admin.loadLibrary();
    const applied = await admin.configure({ key: TREE_KEY, account: ACCOUNT, nodes: nodesOf(options) }, REVISION);
    if (applied.kind !== 'applied') throw new Error(`the tree was not applied: ${applied.kind}`);
    return new World({ redis, simulator }, admin, { options, pki, stack: stack.move() });
  }

  /** Starts one more sidecar. */
  async sidecar(): Promise<RunningSidecar> {
    const sidecar = this.#opened.use(await startSidecar(this.#snapshot(), this.#options.env));
    this.sidecars.push(sidecar);
    return sidecar;
  }

  /** The first sidecar's proxy. */
  get url(): string {
    return this.sidecars[0]?.http ?? '';
  }

  async tree(): Promise<TreeSnapshot> {
    const tree = await this.#admin.snapshot(TREE_KEY);
    if (tree === null) throw new Error('Redis has no tree');
    return tree;
  }

  /** What the account's window of this resource has used. */

  async used(resource: Resource): Promise<number> {
    const { nodes } = await this.tree();
    return nodes.find(({ name }) => name === 'account')?.usage.find((usage) => usage.resource === resource)?.used ?? 0;
  }

  async inFlight(): Promise<number> {
    return (await this.tree()).leases;
  }

  async drifts(): Promise<AuditReport['drifts']> {
    return (await this.#admin.audit(TREE_KEY)).drifts;
  }

  /** Waits until neither we nor the vendor count a call, and nothing is reserved. */
  async quiet(): Promise<void> {
    await this.until(async () => {
      // Slots held after their calls are freed by the next call that comes, as the operator's every second.
      await this.#admin.tick(TREE_KEY);
      const { leases, nodes } = await this.tree();
      const busy = nodes.some(({ inFlight, usage }) => inFlight > 0 || usage.some(({ reserved }) => reserved > 0));
      return leases === 0 && !busy && (await this.control.report()).inFlight === 0;
    });
  }

  /** What is left once all is quiet: counters that differ from their recount, and calls the vendor should not have seen. */
  async remains(): Promise<typeof NOTHING> {
    await this.quiet();
    const { overAdmission } = await this.control.report();
    return { drifts: (await this.drifts()).length, excess: overAdmission.concurrency + overAdmission.windowCalls };
  }

  async until(condition: () => boolean | Promise<boolean>, ms = 30_000): Promise<void> {
    const giveUpAt = Date.now() + ms;
    while (!(await condition())) {
      if (Date.now() > giveUpAt) throw new Error('the condition did not come true in time');
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#opened.disposeAsync();
  }

  #snapshot(): SidecarSnapshot {
    const { plans: _, ...catalog } = defaultCatalog();
    return {
      revision: REVISION,
      binding: {
        treeKey: TREE_KEY,
        quota: 'team/a',
        leaf: LEAF,
        path: [LEAF, 'account'],
        currency: 'USD',
        perAgentConcurrency: null,
        maxRuntimeMs: HOUR_MS,
        waiting: { mode: 'Reject', maxWaitMs: 0 },
        class: { default: 'Normal', max: 'High' },
        attributes: {},
        drained: false,
        durability: 'Async',
        onStoreFailure: { policy: 'Closed', localSharePercent: 50, maxDurationMs: 300_000 },
        retry: { maxAttempts: 1, baseDelayMs: 1000, factorPermille: 2000, maxDelayMs: 30_000 },
        ...this.#options.binding,
      },
      catalog,
      upstream: { origin: this.simulator.url, billing: 'CodingPlan', apiKey: KEY, caPem: this.#vendorCa },
      redis: { url: this.redis.url, username: null, password: null, caPem: this.redis.ca },
    };
  }
}

interface Opened {
  readonly pki: TestPki | null;
  readonly options: WorldOptions;
  readonly stack: AsyncDisposableStack;
}

function vendorTls(pki: TestPki | null): { tls?: { cert: string; key: string } } {
  return pki === null ? {} : { tls: { cert: pki.cert, key: pki.key } };
}

function nodesOf({
  concurrency = 4,
  requests = PLENTY,
  nodes = (node) => node,
  more = [],
}: WorldOptions): NodeConfig[] {
  const limits: LimitConfig[] = COUNTED.map((resource) => ({
    name: `window-${resource.toLowerCase()}`,
    resource,
    amount: resource === 'Requests' ? requests : PLENTY,
    window: { type: 'Anchored', durationMs: 5 * HOUR_MS },
  }));
  return [
    node('account', null, { limits }),
    node('model:glm-5.3', 'account', { concurrency }),
    node('model:other', 'account', { concurrency }),
    node(LEAF, 'account'),
    ...more,
  ].map(nodes);
}

/** A chat call; what `[[sim …]]` in its text asks of the simulator. */
export function chatBody(text = '', more: object = {}): string {
  return JSON.stringify({ model: 'glm-5.3', messages: [{ role: 'user', content: `hello ${text}` }], ...more });
}

/** Runs the sidecar's main with these arguments and nothing else in its environment, to its end. */
export async function runMain(args: readonly string[], env: Readonly<Record<string, string>>): Promise<Ended> {
  const child = spawn(process.execPath, [MAIN, ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  const [stdout, stderr, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'exit')]);
  return { code: code as number | null, stdout, stderr };
}

export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}
