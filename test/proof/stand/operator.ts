/** The operator's part in a proof: configures the tree, ticks it once a second, and audits it all the time. */
import { setTimeout as delay } from 'node:timers/promises';
import { AppError } from '#sidecar/base/errors.ts';
import type { AdminEngine, ConfigureOptions } from '#sidecar/engine/port.ts';
import type { AuditReport, TreeSnapshot } from '#sidecar/engine/terms.ts';
import type { Revision, TreeConfig } from '#sidecar/engine/tree-terms.ts';
import { TREE_KEY } from './tree.ts';

const TICK_MS = 1000;
const AUDIT_MS = 500;
/** A server that stands still keeps nobody from looking again. */
const ANSWER_MS = 2000;

export class Operator implements AsyncDisposable {
  readonly engine: AdminEngine;
  /** Every difference between a counter and its recount that any audit found. */
  readonly drifts: AuditReport['drifts'][number][] = [];
  audits = 0;
  /** What no absence of Redis explains. */
  readonly problems: string[] = [];
  #generation = 0;
  #tree: TreeConfig | null = null;
  readonly #stop = new AbortController();
  readonly #loops: readonly Promise<void>[];

  constructor(engine: AdminEngine) {
    this.engine = engine;
    const tick = async (signal: AbortSignal): Promise<void> => void (await engine.tick(TREE_KEY, signal));
    this.#loops = [this.#repeat(TICK_MS, tick), this.#repeat(AUDIT_MS, (signal) => this.#audit(signal))];
  }

  get revision(): Revision {
    return { leaseCreatedMs: 1_790_000_000_000, transitions: 0, generation: this.#generation };
  }

  async configure(tree: TreeConfig, options: ConfigureOptions = {}): Promise<void> {
    this.#generation += 1;
    this.#tree = tree;
    await this.#write(tree, options);
  }

  /** Writes what Redis has lost once more: library, and the tree as the same revision. */
  async restore(options: ConfigureOptions = {}): Promise<void> {
    if (this.#tree === null) throw new Error('nothing was configured yet');
    await this.engine.loadLibrary();
    await this.#write(this.#tree, { lost: true, ...options });
  }

  async tree(): Promise<TreeSnapshot> {
    const tree = await this.engine.snapshot(TREE_KEY);
    if (tree === null) throw new Error('Redis has no tree');
    return tree;
  }

  /** Null while Redis cannot be asked. */
  async look(): Promise<TreeSnapshot | null> {
    return this.engine.snapshot(TREE_KEY, AbortSignal.timeout(ANSWER_MS)).catch(() => null);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await Promise.all(this.#loops);
  }

  async #write(tree: TreeConfig, options: ConfigureOptions): Promise<void> {
    // The same revision once more changes nothing: on a machine that starts many processes at once Redis answers late.
    const write = () => this.engine.configure(tree, this.revision, options);
    const reply = await write().catch(write);
    if (reply.kind !== 'applied') throw new Error(`configure was answered ${JSON.stringify(reply)}`);
  }

  async #audit(signal: AbortSignal): Promise<void> {
    const { drifts } = await this.engine.audit(TREE_KEY, signal);
    this.audits += 1;
    this.drifts.push(...drifts);
  }

  async #repeat(everyMs: number, work: (signal: AbortSignal) => Promise<void>): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        await work(AbortSignal.any([signal, AbortSignal.timeout(ANSWER_MS)]));
      } catch (error) {
        // Redis is away, or has no tree: that is what is being tried out.
        const { code, message } = AppError.from(error);
        if (code === 'internal') this.problems.push(message);
      }
      await delay(everyMs, undefined, { signal }).catch(() => undefined);
    }
  }
}
