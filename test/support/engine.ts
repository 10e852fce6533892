/** The engine on a real Redis with a clock and a server identity that tests set. */
import { Redis } from 'ioredis';
import { createAdminEngine, createSidecarEngine } from '#sidecar/engine/client.ts';
import type { Form } from '#sidecar/engine/caller.ts';
import type { LibraryVariant } from '#sidecar/engine/library.ts';
import type { AdminEngine, SidecarEngine } from '#sidecar/engine/port.ts';
import type { AcquireRequest, Settlement } from '#sidecar/engine/terms.ts';
import type { Amounts, LimitConfig, NodeConfig, Revision, TreeConfig } from '#sidecar/engine/tree-terms.ts';

/** Reads the time from `q:{tree}:clock` (µs) and the identity from `q:{tree}:identity`. */
export const INJECTED: LibraryVariant = {
  version: 'q2test',
  source: `
local function beside(keys, suffix) return redis.call('GET', string.sub(keys.meta, 1, -2) .. suffix) end
local function read_clock_us(keys) return tonumber(beside(keys, 'clock')) end
local function injected_identity(keys) return beside(keys, 'identity') or 'one' end
`,
};

export const TREE_KEY = 'abcdefghijklmnopqrstuvwxyz';
/** 2026-11-21T00:00:00Z. */
export const START_MS = 1_795_219_200_000;

export const NOTHING: Amounts = {
  requests: 0,
  prompts: 0,
  inputTokens: 0,
  cachedTokens: 0,
  outputTokens: 0,
  microCredits: 0,
  nanoCost: 0,
  costUnits: 0,
  runtimeSeconds: 0,
};
/** One request of one prompt. */
export const ONE: Amounts = { ...NOTHING, requests: 1, prompts: 1 };

export interface TestEngine {
  readonly redis: Redis;
  readonly admin: AdminEngine;
  readonly sidecar: SidecarEngine;
  /** The epoch this sidecar engine was told last. */
  knownEpoch(): number | null;
  /** The same server with a sidecar engine that knows nothing yet. */
  fresh(): TestEngine;
  /** Milliseconds of the injected clock. */
  readonly nowMs: number;
  setUs(us: number): Promise<void>;
  advance(ms: number): Promise<void>;
  /** Makes Redis look like another server. */
  restartAs(identity: string): Promise<void>;
  /** Everything gone but library and clock. */
  wipe(): Promise<void>;
  /** Writes the tree as the next revision of one leader. */
  configure(nodes: readonly NodeConfig[], revision?: Partial<Revision>): Promise<void>;
}

/** The form every test engine has unless it is opened with another: the vitest project `scripts` runs the suites in the other one. */
const FORM: Form = process.env['GLMQUOTA_TEST_FORM'] === 'scripts' ? 'scripts' : 'functions';

export async function openTestEngine(
  socketPath: string,
  { form = FORM, variant = INJECTED }: { readonly form?: Form; readonly variant?: LibraryVariant } = {},
): Promise<TestEngine> {
  const redis = new Redis({ path: socketPath });
  const options = { redis, variant, form };
  const admin = createAdminEngine(options);
  await admin.loadLibrary();
  let us = START_MS * 1000;
  const setUs = async (next: number): Promise<void> => {
    us = next;
    await redis.set(`q:{${TREE_KEY}}:clock`, String(us));
  };
  await setUs(us);
  const open = (): TestEngine => {
    let generation = 0;
    return {
      redis,
      admin,
      ...spied(createSidecarEngine({ ...options, treeKey: TREE_KEY })),
      fresh: open,
      get nowMs() {
        return Math.floor(us / 1000);
      },
      setUs,
      advance: (ms) => setUs(us + ms * 1000),
      restartAs: async (identity) => void (await redis.set(`q:{${TREE_KEY}}:identity`, identity)),
      wipe: async () => {
        await redis.flushall();
        await setUs(us);
      },
      configure: async (nodes, revision = {}) => {
        const next = { leaseCreatedMs: START_MS, transitions: 0, generation: ++generation, ...revision };
        const reply = await admin.configure(treeOf(nodes), next);
        if (reply.kind !== 'applied') throw new Error(`configure was answered ${JSON.stringify(reply)}`);
      },
    };
  };
  return open();
}

/** Watches which epochs the engine is told, as the engine itself does for its settlements. */
function spied(sidecar: SidecarEngine): Pick<TestEngine, 'sidecar' | 'knownEpoch'> {
  let known: number | null = null;
  const learn = (epoch: number): void => {
    known = Math.max(known ?? 0, epoch);
  };
  return {
    knownEpoch: () => known,
    sidecar: {
      ...sidecar,
      acquire: async (...args) => {
        const verdict = await sidecar.acquire(...args);
        if (verdict.kind === 'granted' || verdict.kind === 'queued') learn(verdict.epoch);
        return verdict;
      },
      swap: async (...args) => {
        const swapped = await sidecar.swap(...args);
        const { verdict } = swapped;
        if (verdict.kind === 'granted' || verdict.kind === 'queued') learn(verdict.epoch);
        return swapped;
      },
      beat: async (...args) => {
        const reply = await sidecar.beat(...args);
        if (reply.kind === 'alive') learn(reply.epoch);
        return reply;
      },
      register: async (...args) => {
        const reply = await sidecar.register(...args);
        learn(reply.epoch);
        return reply;
      },
    },
  };
}

export function treeOf(nodes: readonly NodeConfig[]): TreeConfig {
  return { key: TREE_KEY, account: { namespace: 'glm', name: 'max', uid: 'uid-1' }, nodes };
}

export function node(name: string, parent: string | null, rest: Partial<NodeConfig> = {}): NodeConfig {
  return { name, parent, ...PLAIN_NODE, ...rest };
}

/** No limits of its own; what a call may do is up to the others on its path. */
export const PLAIN_NODE: Omit<NodeConfig, 'name' | 'parent'> = {
  concurrency: null,
  adaptive: null,
  rate: null,
  limits: [],
  perCall: [],
  stops: [],
  scope: null,
  weight: 1,
  maxClass: 'System',
  observe: false,
  maxQueue: null,
  breaker: null,
  thresholds: [],
};

/** Held by a person, as `stops` of a node. */
export const HELD: NodeConfig['stops'] = [{ name: 'stop', fromMs: 0, untilMs: null, except: [] }];

export function limit(name: string, amount: number, rest: Partial<LimitConfig> = {}): LimitConfig {
  return { name, amount, resource: 'Requests', window: { type: 'Anchored', durationMs: 60_000 }, ...rest };
}

export function request(id: string, rest: Partial<AcquireRequest> = {}): AcquireRequest {
  return {
    id,
    owner: 'pod-1',
    leaf: 'account',
    model: 'glm-5.3',
    generation: 1,
    epoch: null,
    reserve: ONE,
    maxRuntimeMs: 3_600_000,
    class: 'Normal',
    flowKey: '',
    attributes: {},
    wait: { mode: 'Reject', maxWaitMs: 0 },
    place: null,
    ...rest,
  };
}

export function settlement(id: string, fence: number, rest: Partial<Settlement> = {}): Settlement {
  return {
    id,
    fence,
    outcome: 'completed',
    actual: ONE,
    sentAfterMs: 0,
    firstByteAfterMs: 0,
    holdMs: 0,
    frozenUntilMs: null,
    ...rest,
  };
}
