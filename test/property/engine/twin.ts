/** Engine and model side by side: every step is done to both, and both must say the same. Without an engine: the model alone. */
import { deepEqual, equal } from 'node:assert/strict';
import { AppError } from '#sidecar/base/errors.ts';
import { Model, type Tick } from '#sidecar/engine/model.ts';
import { restorable, type StoredCheckpoint, takeCheckpoint } from '#operator/controllers/checkpoints/plan.ts';
import type { AcquireRequest } from '#sidecar/engine/terms.ts';
import { START_MS, TREE_KEY, treeOf, type TestEngine } from '#test/support/engine.ts';
import { Callers } from './callers.ts';
import { nodesOf, type Shape } from './shapes.ts';
import { LIMITS, NODES, OWNERS, PREFIXES, PROCESSES, type Asking, type Settling, type Step } from './steps.ts';

export class Twin {
  readonly model = new Model();
  readonly callers = new Callers();
  readonly #engine: TestEngine | null;
  #us = START_MS * 1000;
  /** Of the memory that was wiped last. */
  #checkpoint: StoredCheckpoint | null = null;
  #generation = 0;
  #transitions = 0;
  #restarts = 0;
  #server = 'one';
  /** What the client of the engine was told last. */
  #told: number | null = null;
  /** In force; null: there is no tree. */
  #shape: Shape | null = null;

  constructor(engine: TestEngine | null) {
    this.#engine = engine;
  }

  get shape(): Shape | null {
    return this.#shape;
  }

  get nowMs(): number {
    return Math.floor(this.#us / 1000);
  }

  /** `first`: what is configured before anything else. */
  async begin(first: Shape): Promise<void> {
    await this.#engine?.setUs(this.#us);
    await this.#engine?.wipe();
    this.model.clock.setUs(this.#us);
    await this.#configure({ do: 'configure', shape: first, leader: 0, lost: false });
  }

  async step(step: Step): Promise<void> {
    switch (step.do) {
      case 'advance':
        this.#us += step.ms * 1000 + (step.ms % 7);
        await this.#engine?.setUs(this.#us);
        this.model.clock.setUs(this.#us);
        break;
      case 'configure':
        await this.#configure(step);
        break;
      case 'restart':
        await this.#restart(this.#nextServer());
        break;
      case 'wipe':
        this.#checkpoint = this.#takeCheckpoint() ?? this.#checkpoint;
        await this.#engine?.wipe();
        this.model.wipe();
        this.#server = 'one';
        this.#shape = null;
        break;
      case 'acquire':
        await this.#acquire(this.callers.newCall(step, this.#generation));
        break;
      case 'again':
        await this.#again(step.call, step.owner);
        break;
      default:
        await (this.#shape ? this.#onTree(step) : this.#withoutTree());
    }
    this.callers.noteGrants(this.model);
  }

  /** Engine and model show the same state, and every counter equals its recount (inv-I2). */
  async compare(): Promise<void> {
    if (!this.#engine) return;
    const real = await this.#engine.sidecar.snapshot();
    const wanted = this.model.snapshot();
    if (real === null || wanted === null) return equal(real, wanted);
    const { configHash: _hash, epoch: _epoch, serverNowMs: _now, ...seen } = real;
    deepEqual(seen, wanted);
    deepEqual((await this.#engine.admin.audit(TREE_KEY)).drifts, []);
  }

  async tick(): Promise<Tick> {
    const wanted = this.model.tick();
    if (this.#engine) deepEqual(await this.#engine.sidecar.tick(), wanted);
    this.callers.noteGrants(this.model);
    return wanted;
  }

  async #configure({ shape, leader, lost }: Step & { do: 'configure' }): Promise<void> {
    this.#generation += 1;
    if (leader > 0) this.#transitions += 1;
    const transitions = this.#transitions + Math.min(leader, 0);
    const revision = { leaseCreatedMs: START_MS, transitions, generation: this.#generation };
    const tree = treeOf(nodesOf(shape, this.nowMs));
    // It counts where the memory was lost only, and then not before the operator says so.
    const checkpoint = lost && this.#checkpoint ? { checkpoint: restorable(this.#checkpoint, tree, this.nowMs) } : {};
    const wanted = this.model.configure(tree, revision, { lost, ...checkpoint });
    if (this.#engine) deepEqual(await this.#engine.admin.configure(tree, revision, { lost, ...checkpoint }), wanted);
    if (wanted.kind !== 'applied') return;
    this.#shape = shape;
    if (this.#engine) deepEqual(await this.#engine.admin.config(TREE_KEY), tree);
  }

  /** As the operator takes it (rule F3); null: there is no tree. */
  #takeCheckpoint(): StoredCheckpoint | null {
    const seen = this.model.snapshot();
    const { tree } = this.model.tree.config ?? {};
    if (seen === null || tree === undefined) return null;
    return takeCheckpoint(tree, { ...seen, epoch: 0, configHash: '', serverNowMs: this.nowMs }, this.nowMs);
  }

  async #acquire(call: AcquireRequest): Promise<void> {
    const wanted = this.model.acquire(call);
    if (this.#engine) deepEqual(await this.#engine.sidecar.acquire(call), wanted);
    this.callers.hear(call, wanted);
    if (wanted.kind === 'granted' || wanted.kind === 'queued') this.#tell(wanted.epoch);
  }

  async #again(index: number, owner: number | null): Promise<void> {
    const call = this.callers.call(index);
    if (call) await this.#acquire({ ...call, ...(owner === null ? {} : { owner: OWNERS[owner]! }) });
  }

  async #withoutTree(): Promise<void> {
    if (!this.#engine) return undefined;
    const refused = this.#engine.sidecar.beat({ owner: OWNERS[0]!, epoch: null, leases: [], waiters: [] });
    const code = await refused.then(
      () => 'answered',
      (error: unknown) => (error instanceof AppError ? error.code : String(error)),
    );
    return equal(code, 'unavailable');
  }

  async #onTree(step: Step): Promise<void> {
    switch (step.do) {
      case 'claim': {
        const ref = this.callers.ref(step.call, step.off);
        const wanted = this.model.claim(ref);
        if (this.#engine) equal(await this.#engine.sidecar.claim(ref), wanted);
        break;
      }
      case 'cancel':
        // Also ids that come later: a cancel may overtake its acquire.
        this.model.cancel(`call-${step.call}`, step);
        await this.#engine?.sidecar.cancel(`call-${step.call}`, step);
        break;
      case 'beat':
        await this.#beat(step);
        break;
      case 'settle':
        await this.#settle(step.all);
        break;
      case 'swap':
        await this.#swap(step.settling, step.asking);
        break;
      case 'retry':
        await this.#swap(step.settling, null);
        break;
      case 'register':
        await this.#register(step);
        break;
      case 'tick':
        await this.tick();
        break;
      default:
        await this.#govern(step);
    }
  }

  async #beat(step: Step & { do: 'beat' }): Promise<void> {
    const { epoch } = this.callers;
    const leases = this.callers.leasesOf(step);
    const beat = { owner: OWNERS[step.owner]!, epoch, leases, waiters: this.callers.waitersOf(step) };
    const wanted = this.model.beat(beat);
    if (this.#engine) deepEqual(await this.#engine.sidecar.beat(beat), wanted);
    this.callers.hearBeat(beat.owner, wanted);
    if (wanted.kind === 'alive') this.#tell(wanted.epoch);
  }

  async #settle(all: readonly Settling[]): Promise<void> {
    const settlements = all.map((each) => this.callers.settlement(each, this.nowMs));
    const wanted = this.model.settle(settlements, this.#told);
    if (this.#engine) deepEqual(await this.#engine.sidecar.settle(settlements), wanted);
  }

  /** `asking` null: the settled call is tried again. */
  async #swap(settling: Settling, asking: Asking | null): Promise<void> {
    const settlement = this.callers.settlement(settling, this.nowMs);
    const again = this.callers.call(settling.call);
    const next = asking ? this.callers.newCall(asking, this.#generation) : again;
    if (!next) return;
    const call = asking ? next : { ...next, generation: this.#generation };
    const wanted = this.model.swap(settlement, call, this.#told);
    if (this.#engine) deepEqual(await this.#engine.sidecar.swap(settlement, call), wanted);
    // Nobody tries again what was never granted: such a retry tells nothing about a call that waits.
    if (asking || wanted.settled.kind !== 'unknown') this.callers.hear(call, wanted.verdict);
    if (wanted.verdict.kind === 'granted' || wanted.verdict.kind === 'queued') this.#tell(wanted.verdict.epoch);
  }

  async #register(step: Step & { do: 'register' }): Promise<void> {
    const owner = OWNERS[step.owner]!;
    const leases = this.callers.registrationsOf(step);
    const unused = this.callers.last;
    const disclaimed = step.disclaim && unused ? [unused.id, 'never-seen'] : [];
    // The client sends leases and disclaimed ids in calls of their own.
    const wanted = this.model.register({ owner, leases, disclaimed: [] });
    if (disclaimed.length > 0) this.model.register({ owner, leases: [], disclaimed });
    if (this.#engine) deepEqual(await this.#engine.sidecar.register({ owner, leases, disclaimed }), wanted);
    this.callers.learn(wanted.epoch);
    this.#tell(wanted.epoch);
  }

  async #govern(step: Step): Promise<void> {
    const admin = this.#engine?.admin;
    switch (step.do) {
      case 'reclaim':
        await this.#reclaim(step);
        break;
      case 'drain':
        this.model.drain(PROCESSES[step.process]!, step.on);
        await admin?.drain(TREE_KEY, PROCESSES[step.process]!, step.on);
        break;
      case 'move':
        await this.#move(step);
        break;
      case 'freeze': {
        const untilMs = step.forMs === null ? null : Math.max(0, this.nowMs + step.forMs);
        this.model.freeze(NODES[step.node]!, untilMs);
        await admin?.freeze(TREE_KEY, NODES[step.node]!, untilMs);
        break;
      }
      case 'reset': {
        const wanted = this.model.resetWindow(NODES[step.node]!, LIMITS[step.limit]!);
        if (admin) equal(await admin.resetWindow(TREE_KEY, NODES[step.node]!, LIMITS[step.limit]!), wanted);
        break;
      }
      default:
    }
  }

  #nextServer(): string {
    this.#restarts += 1;
    return `server-${this.#restarts}`;
  }

  async #restart(server: string): Promise<void> {
    this.#server = server;
    await this.#engine?.restartAs(server);
    this.model.clock.restartAs(server);
  }

  async #move({ declares, forMs, afterMs }: Step & { do: 'move' }): Promise<void> {
    const to = this.#nextServer();
    const identities = { from: [this.#server], to: [to], both: [this.#server, to] }[declares];
    const move = { identities, untilMs: this.nowMs + forMs };
    this.model.declareMove(move);
    await this.#engine?.admin.declareMove(TREE_KEY, move);
    await this.step({ do: 'advance', ms: afterMs });
    await this.#restart(to);
  }

  async #reclaim({ prefix, except }: Step & { do: 'reclaim' }): Promise<void> {
    const owners = { prefix: PREFIXES[prefix]!, except: except === null ? null : OWNERS[except]! };
    for (;;) {
      const wanted = this.model.reclaim(owners);
      if (this.#engine) deepEqual(await this.#engine.admin.reclaim(TREE_KEY, owners), wanted);
      if (wanted.leases + wanted.waiters === 0) return;
    }
  }

  #tell(epoch: number): void {
    this.#told = Math.max(this.#told ?? 0, epoch);
  }
}
