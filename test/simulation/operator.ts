/** The operator: writes the tree, tells sidecars of it, ticks, and puts right what Redis has forgotten. */
import { isDue, restorable, type StoredCheckpoint, takeCheckpoint } from '#operator/controllers/checkpoints/plan.ts';
import type { NodeName, Revision, TreeConfig } from '#sidecar/engine/tree-terms.ts';
import { snapshotOf } from './operations.ts';
import { DRIFT, Party, type Machine } from './party.ts';
import type { Random } from './random.ts';
import type { Schedule } from './schedule.ts';
import type { Sidecar } from './sidecar.ts';
import type { Store } from './store.ts';
import type { Trace } from './trace.ts';
import { type Binding, LEAVES, type Shape, snapshotFor, treeFor } from './tree.ts';

export interface OperatorOptions {
  readonly schedule: Schedule;
  readonly store: Store;
  readonly random: Random;
  readonly trace: Trace;
  readonly sidecars: readonly Sidecar[];
  readonly binding: Partial<Binding>;
  readonly machine: Machine;
  /** Told of nodes that are closed until then. */
  readonly onFreeze: (node: NodeName, untilMs: number) => void;
}

const TICK_MS = 1000;
/** Between two looks at what is used. */
const LOOK_MS = 3000;
/** How soon it notices that Redis has another tree, or none. */
const NOTICES_MS = { least: 500, most: 4000 };

export class Operator {
  shape: Shape;
  /** All that were ever in force. */
  readonly shapes: Shape[] = [];
  /** It neither ticks nor looks. */
  isAway = false;
  readonly #options: OperatorOptions;
  #generation = 0;
  #isRepairing = false;
  #hasWritten = false;
  /** As kept in a Secret (rule F3). */
  #checkpoint: StoredCheckpoint | null = null;
  #lookedMs = 0;
  readonly #party: Party;

  constructor(options: OperatorOptions, shape: Shape) {
    this.#options = options;
    this.shape = shape;
    this.#party = new Party('operator', options.schedule, options.machine);
  }

  start(): void {
    this.configure(this.shape);
    this.#tickSoon();
  }

  configure(shape: Shape): void {
    this.shape = shape;
    this.shapes.push(shape);
    this.#generation += 1;
    if (this.#canWrite) this.#write(false);
    this.#publish();
  }

  get tree(): TreeConfig {
    return treeFor(this.shape);
  }

  /** Ends what a pod held, now that it is gone for good (rule: the zombie hold). */
  reclaim(sidecar: string): void {
    const { store } = this.#options;
    if (!this.#isReachable || store.master.model.tree.config === null) return;
    store.perform(store.master, {
      name: `reclaim ${sidecar}`,
      work: (model) => model.reclaim({ prefix: `${sidecar}/`, except: null }),
    });
  }

  /** Closes a node for so long, if Redis can be told. */
  freeze(node: NodeName, forMs: number): void {
    const { store, schedule, onFreeze } = this.#options;
    if (!this.#canWrite) return;
    const untilMs = Math.floor(store.master.party.wallMs) + forMs;
    store.perform(store.master, { name: `freeze ${node}`, work: (model) => model.freeze(node, untilMs) });
    onFreeze(node, schedule.nowMs + forMs * (1 - DRIFT));
  }

  get #revision(): Revision {
    return { leaseCreatedMs: 1, transitions: 0, generation: this.#generation };
  }

  get #isReachable(): boolean {
    const { master } = this.#options.store;
    return !master.isDown && !master.party.isPaused && master.refuses === null;
  }

  get #canWrite(): boolean {
    return this.#isReachable && !this.#options.store.master.isFull;
  }

  #write(lost: boolean): void {
    const { store, trace } = this.#options;
    const { tree } = this;
    const revision = this.#revision;
    const { clock } = this.#party;
    const checkpoint = lost && this.#checkpoint ? restorable(this.#checkpoint, tree, clock.nowMs()) : null;
    const reply = store.perform(store.master, {
      name: 'configure',
      work: (model) => model.configure(tree, revision, { lost, ...(checkpoint && { checkpoint }) }),
    });
    this.#hasWritten = true;
    trace.note('operator', `configures generation ${revision.generation}${lost ? ', lost' : ''}: ${reply.kind}`);
  }

  /** Each sidecar hears of it in its own time. */
  #publish(): void {
    const { schedule, random, sidecars } = this.#options;
    const { tree } = this;
    const revision = this.#revision;
    for (const [index, sidecar] of sidecars.entries()) {
      const snapshot = snapshotFor(LEAVES[index % LEAVES.length]!, tree, revision, this.#options.binding);
      const isFirst = revision.generation === 1;
      schedule.after(isFirst ? 0 : random.between(1, 800), () => {
        const known = sidecar.snapshots.value?.revision.generation ?? 0;
        if (known < revision.generation) sidecar.snapshots.set(snapshot);
      });
    }
  }

  #tickSoon(): void {
    this.#options.schedule.after(TICK_MS, () => {
      if (!this.isAway && this.#isReachable) this.#look();
      this.#tickSoon();
    });
  }

  #look(): void {
    const { store, schedule, random } = this.#options;
    const { config } = store.master.model.tree;
    if (config !== null) {
      store.perform(store.master, { name: 'tick', work: (model) => model.tick() });
      this.#keep();
    }
    if (config?.revision.generation === this.#generation || this.#isRepairing) return;
    this.#isRepairing = true;
    schedule.after(random.between(NOTICES_MS.least, NOTICES_MS.most), () => {
      this.#isRepairing = false;
      const isGone = store.master.model.tree.config === null;
      if (this.#canWrite) this.#write(isGone && this.#hasWritten);
    });
  }

  /** Keeps what is used, if that is worth a write. */
  #keep(): void {
    const { store, schedule } = this.#options;
    if (schedule.nowMs < this.#lookedMs + LOOK_MS) return;
    this.#lookedMs = schedule.nowMs;
    const seen = store.master.look(snapshotOf);
    if (seen === null) return;
    const next = takeCheckpoint(this.tree, seen, this.#party.clock.nowMs());
    if (!isDue(this.#checkpoint, next, this.tree)) return;
    this.#checkpoint = next;
    store.remember();
  }
}
