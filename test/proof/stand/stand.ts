/**
 * Real processes for one proof: Redis, the vendor, sidecars and their callers, with an operator that ticks and audits. Ends
 * with what the vendor's book says of calls in flight, beside the bound.
 */
import { deepEqual, ok } from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { request } from 'undici';
import type { SidecarSnapshot } from '#sidecar/control/terms.ts';
import { createAdminEngine } from '#sidecar/engine/client.ts';
import type { LibraryVariant } from '#sidecar/engine/library.ts';
import type { TreeConfig } from '#sidecar/engine/tree-terms.ts';
import type { CallRecord } from '#test/support/glm-simulator/ledger.ts';
import type { SimulatorControl } from '#test/support/glm-simulator/control.ts';
import type { AccountConfig, KnobsPatch } from '#test/support/glm-simulator/terms.ts';
import { call, type CallOptions, CHAT, Load, type LoopOptions, MODEL, type Seen } from './load.ts';
import { Operator } from './operator.ts';
import { peak, type Step, sweep } from './oracle.ts';
import { writeProof } from './results.ts';
import { Sidecar } from './sidecar.ts';
import type { Store } from './stores.ts';
import { KEY, type NodePatches, snapshotOf, treeWith } from './tree.ts';
import { startVendor } from './vendor.ts';

export const ACCOUNT = 'max';
const MARKS = { id: 'marks', keys: ['mark-id.mark-secret'] };
const PATIENCE_MS = 60_000;
const POLL_MS = 25;

type Binding = Partial<SidecarSnapshot['binding']>;

export interface StandOptions<S extends Store> {
  /** Names the proof in results and plots. */
  readonly name: string;
  readonly store: S;
  /** Calls in flight, of account and model, and what the vendor says it allows; null: no limit. */
  readonly concurrency: number | null;
  readonly sidecars: number;
  readonly nodes?: NodePatches;
  /** Default: the one of `treeWith` with these nodes. */
  readonly tree?: TreeConfig;
  /** Of all sidecars, or of the one of that number. */
  readonly binding?: Binding | ((index: number) => Binding);
  readonly vendor?: Partial<AccountConfig>;
  readonly knobs?: KnobsPatch;
  /** The vendor refuses what is too much. Default: it only counts, so that all that is let through is seen in full. */
  readonly isStrictVendor?: boolean;
  /** The engine's Lua; default: the one that ships. */
  readonly variant?: LibraryVariant;
}

export interface Mark {
  readonly label: string;
  /** On the vendor's clock. */
  readonly atMs: number;
}

export interface Proof {
  readonly calls: readonly CallRecord[];
  readonly steps: readonly Step[];
  readonly marks: readonly Mark[];
  /** Most calls in flight at once. */
  readonly peak: number;
}

export class Stand<S extends Store> implements AsyncDisposable {
  readonly store: S;
  readonly operator: Operator;
  readonly control: SimulatorControl;
  readonly sidecars: Sidecar[] = [];
  readonly #options: StandOptions<S>;
  readonly #vendorUrl: string;
  readonly #opened: AsyncDisposableStack;
  readonly #loads: Load[] = [];
  readonly #marks = new Map<string, string>();

  private constructor(options: StandOptions<S>, parts: Parts) {
    this.store = options.store;
    this.#options = options;
    this.operator = parts.operator;
    this.control = parts.control;
    this.#vendorUrl = parts.vendorUrl;
    this.#opened = parts.stack;
  }

  /** Owns the store from now on. */
  static async open<S extends Store>(options: StandOptions<S>): Promise<Stand<S>> {
    await using stack = new AsyncDisposableStack();
    const { store, concurrency, variant } = options;
    stack.use(store);
    const vendor = stack.use(await startVendor(vendorConfig(options)));
    const engine = createAdminEngine({ redis: store.operator.redis, ...(variant ? { variant } : {}) });
    await engine.loadLibrary();
    const operator = stack.use(new Operator(engine));
    await operator.configure(options.tree ?? treeWith(concurrency, options.nodes));
    const parts = { operator, control: vendor.control, vendorUrl: vendor.url };
    const stand = new Stand(options, { ...parts, stack: stack.move() });
    try {
      await Promise.all(Array.from({ length: options.sidecars }, (_, index) => stand.start(index)));
    } catch (error) {
      await stand[Symbol.asyncDispose]();
      throw error;
    }
    return stand;
  }

  /** (Re)starts the sidecar of that number, as the same pod. */
  async start(index: number): Promise<Sidecar> {
    const { revision } = this.operator;
    const { binding = {} } = this.#options;
    const snapshot = snapshotOf({
      revision,
      vendor: this.#vendorUrl,
      redis: this.store.settings(index),
      binding: typeof binding === 'function' ? binding(index) : binding,
    });
    const sidecar = this.#opened.use(await Sidecar.start({ snapshot, podUid: `pod-${index}` }));
    this.sidecars[index] = sidecar;
    return sidecar;
  }

  load(options: LoopOptions): Load {
    const load = new Load(() => this.sidecars, options);
    this.#loads.push(load);
    return load;
  }

  /** One call through the sidecar of that number. */
  call(index: number, options: CallOptions = {}): Promise<Seen> {
    return call(this.sidecars[index]?.origin ?? '', options);
  }

  /** Writes a moment into the vendor's book. */
  async mark(label: string): Promise<void> {
    const id = `mark-${this.#marks.size}`;
    this.#marks.set(id, label);
    const headers = { authorization: `Bearer ${MARKS.keys[0]}`, 'x-request-id': id };
    const body = JSON.stringify({ model: MODEL, messages: [{ role: 'user', content: label }] });
    await (await request(this.#vendorUrl + CHAT, { method: 'POST', headers, body })).body.dump();
  }

  async until(what: string, holds: () => boolean | Promise<boolean>, withinMs = PATIENCE_MS): Promise<void> {
    for (const giveUpAt = performance.now() + withinMs; !(await holds()); await delay(POLL_MS)) {
      if (performance.now() > giveUpAt) {
        throw new Error(`${withinMs} ms passed without ${what}: ${JSON.stringify(await this.#state())}`);
      }
    }
  }

  /** The vendor has taken so many calls. */
  async accepted(count: number): Promise<void> {
    await this.control.until(({ accepted, rows }) => accepted - markCount(rows) >= count, PATIENCE_MS);
  }

  /** So many calls are with the vendor. */
  async inFlight(count: number): Promise<void> {
    await this.until(`${count} calls with the vendor`, async () => (await this.flights()) === count);
  }

  /** Opens the vendor's gate for whoever comes to it, until the calls have ended. */
  async letThrough(gate: string, calls: readonly Promise<Seen>[]): Promise<readonly Seen[]> {
    let ended: readonly Seen[] | null = null;
    void Promise.all(calls).then((all) => (ended = all));
    await this.until('an end of calls at a gate', async () => {
      await this.control.release(gate);
      return ended !== null;
    });
    return Promise.all(calls);
  }

  async flights(): Promise<number> {
    return (await this.control.flights()).filter(({ account }) => account === ACCOUNT).length;
  }

  /** Lets the callers end, and waits until nobody counts a call any more. */
  async quiet(): Promise<void> {
    await Promise.all(this.#loads.map((load) => load.end()));
    await this.until('an end of all calls', async () => {
      const tree = await this.operator.look();
      if (tree === null || tree.leases > 0) return false;
      const busy = tree.nodes.some(
        ({ inFlight, queued, usage }) => inFlight > 0 || queued > 0 || usage.some(({ reserved }) => reserved > 0),
      );
      return !busy && (await this.flights()) === 0;
    });
  }

  /** Fails once a counter differs from its recount, or the vendor had more calls at once than `bound`. */
  async holds(bound: number): Promise<Proof> {
    const { drifts, problems } = this.operator;
    const proof = await this.book();
    deepEqual({ problems, drifts }, { problems: [], drifts: [] });
    ok(proof.peak <= bound, `${proof.peak} calls were in flight at once; the bound is ${bound}`);
    return proof;
  }

  /** The vendor's book up to now. */
  async book(): Promise<Proof> {
    const all = await this.control.calls();
    const calls = all.filter(({ account }) => account === ACCOUNT);
    const marks = all.flatMap(({ clientId, startMs }) => {
      const label = this.#marks.get(clientId ?? '');
      return label === undefined ? [] : [{ label, atMs: startMs }];
    });
    const steps = sweep(calls);
    return { calls, steps, marks, peak: peak(steps) };
  }

  /** Ends the load; then no counter differs from its recount, and the vendor never had more calls at once than `bound`. */
  async proves(bound: number): Promise<Proof> {
    await this.quiet();
    const { drifts: last } = await this.operator.engine.audit((await this.operator.tree()).key);
    writeProof({ name: this.#options.name, limit: this.#options.concurrency, bound, ...(await this.book()) });
    deepEqual(last, []);
    return this.holds(bound);
  }

  async #state(): Promise<object> {
    const tree = await this.operator.look();
    const nodes = tree?.nodes.map(({ name, inFlight, concurrency, queued }) => ({
      name,
      inFlight,
      concurrency,
      queued,
    }));
    const lines = this.sidecars.map((each) => each.lines.slice(-5));
    return { leases: tree?.leases, nodes, flights: await this.control.flights(), lines };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const sidecar of this.sidecars) sidecar.resume();
    await this.#opened.disposeAsync();
    // Whoever waited was cut off with the sidecars.
    await Promise.all(this.#loads.map((load) => load.end()));
  }
}

interface Parts {
  readonly operator: Operator;
  readonly control: SimulatorControl;
  readonly vendorUrl: string;
  readonly stack: AsyncDisposableStack;
}

function vendorConfig<S extends Store>({ concurrency, vendor, knobs, isStrictVendor = false }: StandOptions<S>) {
  const account: AccountConfig = {
    id: ACCOUNT,
    keys: [KEY],
    ...(concurrency === null ? {} : { concurrency: { default: concurrency } }),
    ...vendor,
  };
  const accounting = { enforceConcurrency: isStrictVendor, ...knobs?.accounting };
  return { accounts: [account, MARKS], knobs: { ...knobs, accounting } };
}

function markCount(rows: readonly { readonly account: string; readonly accepted: number }[]): number {
  return rows.filter(({ account }) => account === MARKS.id).reduce((sum, { accepted }) => sum + accepted, 0);
}

/** The moment of a mark. */
export function momentOf({ marks }: Proof, label: string): number {
  const found = marks.find((each) => each.label === label);
  if (found === undefined) throw new Error(`nothing was marked ${label}`);
  return found.atMs;
}
