/** Short words for what users of other gateways complain about: a real Redis, real sidecars, and the vendor's own books. */
import { CHAT, chatBody, World, type WorldOptions } from '#test/integration/sidecar/world.ts';
import type { LimitConfig, NodeConfig, Resource } from '#sidecar/engine/tree-terms.ts';

export const DAY_MS = 86_400_000;
/** What a call of the tests may put out, in tokens: its reservation and its answer are the same, so that amounts come out even. */
export const OUTPUT_TOKENS = 10;
const PLENTY = 1000;
export const QUOTA = 'quota:team/a';

export interface RivalOptions extends WorldOptions {
  /** Default: 1. */
  readonly sidecars?: number;
  readonly account?: Partial<NodeConfig>;
  readonly quota?: Partial<NodeConfig>;
  /** Of the account and the model. Default: so many that it says nothing. */
  readonly slots?: number;
}

/** The vendor only counts: what is let through is seen, not refused. */
export async function open({ sidecars = 1, account, quota, slots = PLENTY, ...rest }: RivalOptions): Promise<World> {
  const world = await World.start({
    concurrency: slots,
    vendorConcurrency: PLENTY,
    nodes: (node) => ({
      ...node,
      ...(node.name === 'account' ? { concurrency: slots, ...account } : {}),
      ...(node.name === QUOTA ? quota : {}),
    }),
    ...rest,
  });
  try {
    for (let count = 0; count < sidecars; count += 1) await world.sidecar();
  } catch (error) {
    await world[Symbol.asyncDispose]();
    throw error;
  }
  return world;
}

/** A limit of a day, in the resource's own unit. */
export function daily(resource: Resource, amount: number): LimitConfig {
  return { name: 'daily', resource, amount, window: { type: 'Fixed', durationMs: DAY_MS } };
}

/** An answer, read to its end. */
export interface Told {
  readonly status: number;
  readonly deniedBy: string | null;
  readonly retryAt: string | null;
  readonly text: string;
}

export interface CallOptions {
  /** Number of the sidecar. Default: the first. */
  readonly by?: number;
  /** What the vendor does, `[[sim …]]`. */
  readonly sim?: string;
  readonly stream?: boolean;
  readonly maxTokens?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
}

/** One call of a client. */
export async function call(world: World, options: CallOptions = {}): Promise<Told> {
  const { by = 0, sim = '', stream = false, maxTokens = OUTPUT_TOKENS, headers = {}, signal } = options;
  const response = await fetch((world.sidecars[by]?.http ?? '') + CHAT, {
    method: 'POST',
    body: chatBody(`[[sim tokens=${OUTPUT_TOKENS} ${sim}]]`, { stream, max_tokens: maxTokens }),
    headers,
    ...(signal ? { signal } : {}),
  });
  return {
    status: response.status,
    deniedBy: response.headers.get('x-glmquota-denied-by'),
    retryAt: response.headers.get('x-glmquota-retry-at'),
    text: await response.text(),
  };
}

/** So many calls at once, spread over all sidecars. */
export function together(world: World, count: number, options: CallOptions = {}): Promise<readonly Told[]> {
  const { length } = world.sidecars;
  return Promise.all(Array.from({ length: count }, (_, index) => call(world, { ...options, by: index % length })));
}

/** How often each status came. */
export function statuses(all: readonly Told[]): Readonly<Record<number, number>> {
  const counts: Record<number, number> = {};
  for (const { status } of all) counts[status] = (counts[status] ?? 0) + 1;
  return counts;
}

/** So many calls are with the vendor. */
export function withVendor(world: World, count: number): Promise<void> {
  return world.until(async () => (await world.control.flights()).length === count);
}

/** Most calls at once by the vendor's book. */
export async function mostAtOnce(world: World): Promise<number> {
  const { accounts } = await world.control.report();
  return accounts['max']?.models['glm-5.3']?.maxInFlight ?? 0;
}

/** Dollars the vendor has billed at list price. */
export async function billed(world: World): Promise<number> {
  return (await world.control.report()).usd;
}

export async function accepted(world: World): Promise<number> {
  return (await world.control.report()).accepted;
}
