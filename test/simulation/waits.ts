/** The oracles of liveness: every ask is answered in time, and no slot stays free while a call waits for it. */
import type { Ask, Asks } from './agent.ts';
import type { Schedule } from './schedule.ts';
import type { Sidecar } from './sidecar.ts';
import { pathIn } from './tree.ts';
import type { Operator } from './operator.ts';
import type { Watch } from './watch.ts';

export interface WaitsOptions {
  readonly schedule: Schedule;
  readonly watch: Watch;
  readonly violated: (rule: string, numbers: string) => void;
}

/**
 * What an ask may take beyond its patience: the last question times out (2 s), the first connection is waited for (2 s),
 * or a snapshot that is late (3 s), and each is asked again at most once.
 */
const SLACK_MS = 10_000;
const LOOK_EVERY_MS = 250;

export class Waits implements Asks {
  readonly #options: WaitsOptions;
  readonly #open = new Map<Ask, Sidecar>();
  readonly #endings = new Map<string, number>();
  #sidecars: readonly Sidecar[] = [];
  #operator: Operator | null = null;
  #idleSinceMs: number | null = null;
  /** Asks are to be served within this long while there is room; null: that is not looked at. */
  #promptMs: number | null = null;
  longestLateMs = 0;

  constructor(options: WaitsOptions) {
    this.#options = options;
  }

  get outstanding(): readonly Ask[] {
    return [...this.#open.keys()];
  }

  /** How asks were answered, and how many so. */
  get endings(): ReadonlyMap<string, number> {
    return this.#endings;
  }

  start(sidecars: readonly Sidecar[], operator: Operator): void {
    this.#sidecars = sidecars;
    this.#operator = operator;
    this.#lookSoon();
  }

  /** From now on no slot may stay free for so long while somebody waits for it. */
  expectWork(promptMs: number | null): void {
    this.#promptMs = promptMs;
    this.#idleSinceMs = null;
  }

  began(ask: Ask): void {
    const sidecar = this.#sidecars.find(({ name }) => name === ask.sidecar);
    if (sidecar !== undefined) this.#open.set(ask, sidecar);
  }

  answered(ask: Ask, how: string): void {
    const party = this.#open.get(ask)?.party ?? null;
    this.#open.delete(ask);
    this.#endings.set(how, (this.#endings.get(how) ?? 0) + 1);
    if (party === null) return;
    const tookMs = party.clock.monotonicMs() - ask.sinceMs - (party.stoppedMs - ask.stoppedMs);
    this.longestLateMs = Math.max(this.longestLateMs, tookMs - ask.waitMs);
    if (tookMs > ask.waitMs + SLACK_MS)
      this.#options.violated('inv-L4 answered too late', `${how} after ${tookMs} ms, patience ${ask.waitMs} ms`);
  }

  died(sidecar: string): void {
    for (const ask of this.#open.keys()) if (ask.sidecar === sidecar) this.#open.delete(ask);
  }

  #lookSoon(): void {
    this.#options.schedule.after(LOOK_EVERY_MS, () => {
      this.#look();
      this.#lookSoon();
    });
  }

  /** inv-L2, inv-L6. */
  #look(): void {
    const { schedule, watch, violated } = this.#options;
    if (this.#promptMs === null) return;
    const idle = this.outstanding.find((ask) => this.#couldRun(ask));
    if (idle === undefined || watch.lastGrantMs > (this.#idleSinceMs ?? 0)) this.#idleSinceMs = null;
    if (idle === undefined) return;
    this.#idleSinceMs ??= schedule.nowMs;
    const idleMs = schedule.nowMs - this.#idleSinceMs;
    if (idleMs > this.#promptMs)
      violated('inv-L2 a call waits while there is room', `${idle.sidecar}, ${idle.model}, for ${idleMs} ms`);
  }

  /** Every limit on its path has room, at the vendor. */
  #couldRun({ sidecar, model }: Ask): boolean {
    const { watch } = this.#options;
    const leaf = this.#sidecars.find(({ name }) => name === sidecar)?.snapshots.value?.binding.leaf;
    const nodes = this.#operator?.tree.nodes ?? [];
    if (leaf === undefined) return false;
    return pathIn(nodes, leaf, model).every(
      ({ name, concurrency }) => concurrency === null || watch.inFlight(name) < concurrency,
    );
  }
}
