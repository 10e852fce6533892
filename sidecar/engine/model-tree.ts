/** Reference model: everything one tree holds. Pure. */
import { checkPath, SYSTEM_X, type Asking, type CheckWorld, type Failing } from './model-check.ts';
import { ModelClock } from './model-clock.ts';
import { ModelLeases } from './model-leases.ts';
import type { Now } from './model-meters.ts';
import { ModelNode } from './model-node.ts';
import { ReleaseHold } from './model-pace.ts';
import { pathOf } from './model-path.ts';
import { WaitingRoom } from './model-queue.ts';
import type { ModelConfig } from './model-revision.ts';
import type { AcquireRequest } from './terms.ts';
import type { NodeConfig, NodeName } from './tree-terms.ts';

export class ModelTree implements CheckWorld {
  readonly clock = new ModelClock();
  readonly leases = new ModelLeases(this.clock);
  readonly room = new WaitingRoom();
  /** Processes that get nothing new → until when, null: until that is taken back. */
  readonly draining = new Map<string, number | null>();
  releaseHold = new ReleaseHold();
  lastGrantWasSystem = false;
  config: ModelConfig | null = null;
  configs: ReadonlyMap<NodeName, NodeConfig> = new Map();
  calendars: ReadonlyMap<string, readonly number[]> = new Map();
  #nodes = new Map<NodeName, ModelNode>();

  get now(): Now {
    return this.clock.now;
  }

  get logicalUs(): number {
    return this.clock.logicalUs;
  }

  get learningUntilMs(): number | null {
    return this.leases.learningUntilMs;
  }

  get guard(): WaitingRoom['guard'] {
    return this.room.guard;
  }

  get othersTurn(): boolean {
    return this.lastGrantWasSystem && this.room.runnable.some(({ flow }) => flow.class !== 'System');
  }

  /** Everything Redis holds is lost. */
  wipe(): void {
    this.#nodes.clear();
    this.leases.wipe();
    this.room.wipe();
    this.draining.clear();
    this.releaseHold = new ReleaseHold();
    this.lastGrantWasSystem = false;
    this.config = null;
    this.configs = new Map();
    this.clock.wipe();
  }

  node(name: NodeName): ModelNode {
    const node = this.#nodes.get(name) ?? new ModelNode();
    this.#nodes.set(name, node);
    return node;
  }

  get nodes(): ReadonlyMap<NodeName, ModelNode> {
    return this.#nodes;
  }

  bury(name: NodeName): void {
    this.#nodes.delete(name);
  }

  /** Looks without touching: windows are brought up to the clock in a copy only, as a call that takes nothing writes none. */
  looking<T>(look: () => T): T {
    const nodes = this.#nodes;
    this.#nodes = new Map([...nodes].map(([name, node]) => [name, node.copy()]));
    try {
      return look();
    } finally {
      this.#nodes = nodes;
    }
  }

  path(request: AcquireRequest): readonly NodeConfig[] | null {
    return pathOf(request, this.configs);
  }

  /** What speaks against a call; what adaptive limits learn by being asked stays. */
  check(path: readonly NodeConfig[], asking: Asking): readonly Failing[] {
    for (const { name } of path) this.node(name);
    return this.looking(() => checkPath(path, asking, this));
  }

  /** Whoever waits for something at a node, or for an amount of one of these limits there, is looked at again. */
  wakeNode(name: NodeName, limits: readonly string[]): void {
    this.room.wake(name);
    if (name === 'account') this.room.wake(SYSTEM_X);
    for (const limit of limits) this.room.wake(`${name}|${limit}`);
  }
}
