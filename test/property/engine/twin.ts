/** Engine and model side by side: every step is done to both, and both must say the same. */
import { deepEqual, equal } from 'node:assert/strict';
import { AppError } from '#sidecar/base/errors.ts';
import { Model } from '#sidecar/engine/model.ts';
import type { LeaseRef } from '#sidecar/engine/port.ts';
import type { AcquireRequest, Settlement } from '#sidecar/engine/terms.ts';
import { request, START_MS, TREE_KEY, treeOf, type TestEngine } from '#test/support/engine.ts';
import { amountsOf, LEAVES, MODELS, nodesOf, OWNERS, type Settling, type Shape, type Step } from './steps.ts';

interface Known {
  readonly request: AcquireRequest;
  fence: number;
}

export class Twin {
  readonly model = new Model();
  readonly #engine: TestEngine;
  readonly #calls: Known[] = [];
  #us = START_MS * 1000;
  #generation = 0;
  #transitions = 0;
  #restarts = 0;
  #epoch: number | null = null;
  #configured = false;

  constructor(engine: TestEngine) {
    this.#engine = engine;
  }

  /** `first`: what is configured before anything else. */
  async begin(first: Shape): Promise<void> {
    await this.#engine.setUs(this.#us);
    await this.#engine.wipe();
    this.model.clock.setUs(this.#us);
    this.#epoch = this.#engine.knownEpoch();
    await this.#configure(first, 0);
  }

  async step(step: Step): Promise<void> {
    switch (step.do) {
      case 'advance':
        this.#us += step.ms * 1000 + (step.ms % 7);
        await this.#engine.setUs(this.#us);
        this.model.clock.setUs(this.#us);
        return;
      case 'configure':
        return this.#configure(step.shape, step.leader);
      case 'restart':
        this.#restarts += 1;
        await this.#engine.restartAs(`server-${this.#restarts}`);
        return this.model.clock.restartAs(`server-${this.#restarts}`);
      case 'wipe':
        await this.#engine.wipe();
        this.model.wipe();
        this.#configured = false;
        return;
      case 'acquire':
        return this.#acquire(this.#newCall(step));
      case 'again':
        return this.#again(step.call, step.owner);
      default:
        return this.#whileConfigured(step);
    }
  }

  /** Engine and model show the same state, and every counter equals its recount (inv-I2). */
  async compare(): Promise<void> {
    const real = await this.#engine.sidecar.snapshot();
    const wanted = this.model.snapshot();
    if (real === null || wanted === null) return equal(real, wanted);
    const { configHash: _hash, epoch: _epoch, serverNowMs: _now, ...seen } = real;
    deepEqual(seen, wanted);
    deepEqual((await this.#engine.admin.audit(TREE_KEY)).drifts, []);
  }

  async #configure(shape: Shape, leader: number): Promise<void> {
    this.#generation += 1;
    if (leader > 0) this.#transitions += 1;
    const transitions = this.#transitions + Math.min(leader, 0);
    const revision = { leaseCreatedMs: START_MS, transitions, generation: this.#generation };
    const tree = treeOf(nodesOf(shape));
    const wanted = this.model.configure(tree, revision);
    deepEqual(await this.#engine.admin.configure(tree, revision), wanted);
    this.#configured = true;
    if (wanted.kind === 'applied') deepEqual(await this.#engine.admin.config(TREE_KEY), tree);
  }

  #newCall(step: Step & { do: 'acquire' }): Known {
    const epoch = { known: this.#epoch, none: null, wrong: (this.#epoch ?? START_MS) - 1 }[step.epoch];
    const call = {
      request: request(`call-${this.#calls.length}`, {
        owner: OWNERS[step.owner]!,
        leaf: LEAVES[step.leaf]!,
        model: MODELS[step.model]!,
        generation: this.#generation - step.behind,
        epoch,
        reserve: amountsOf(step.tokens),
        maxRuntimeMs: 60_000,
      }),
      fence: 0,
    };
    this.#calls.push(call);
    return call;
  }

  async #acquire(call: Known): Promise<void> {
    const wanted = this.model.acquire(call.request);
    deepEqual(await this.#engine.sidecar.acquire(call.request), wanted);
    if (wanted.kind === 'granted') {
      call.fence = wanted.fence;
      this.#learn(wanted.epoch);
    }
    if (wanted.kind === 'epoch') this.#epoch = wanted.epoch;
  }

  async #again(index: number, owner: number | null): Promise<void> {
    const call = this.#calls[index % Math.max(1, this.#calls.length)];
    if (!call) return;
    const { request: first } = call;
    await this.#acquire({ ...call, request: owner === null ? first : { ...first, owner: OWNERS[owner]! } });
  }

  async #whileConfigured(step: Step): Promise<void> {
    if (this.#configured) return this.#onTree(step);
    const { sidecar } = this.#engine;
    const refused = sidecar.beat({ owner: 'pod-1', epoch: null, leases: [], waiters: [] });
    const code = await refused.then(
      () => 'answered',
      (error: unknown) => (error instanceof AppError ? error.code : String(error)),
    );
    equal(code, 'unavailable');
  }

  async #onTree(step: Step): Promise<void> {
    const { sidecar } = this.#engine;
    if (step.do === 'claim') {
      const ref = this.#ref(step.call, step.off);
      equal(await sidecar.claim(ref), this.model.claim(ref));
    } else if (step.do === 'cancel') {
      // Also ids that come later: a cancel may overtake its acquire.
      this.model.cancel(`call-${step.call}`);
      await sidecar.cancel(`call-${step.call}`);
    } else if (step.do === 'beat') {
      const request = { owner: OWNERS[step.owner]!, epoch: this.#epoch, leases: this.#leasesOf(step), waiters: [] };
      const wanted = this.model.beat(request);
      deepEqual(await sidecar.beat(request), wanted);
      if (wanted.kind === 'alive') this.#learn(wanted.epoch);
    } else if (step.do === 'settle') {
      await this.#settle(step.all);
    } else if (step.do === 'register') {
      await this.#register(step);
    }
  }

  async #settle(all: readonly Settling[]): Promise<void> {
    const settlements = all.map(({ call, off, tokens, ...rest }): Settlement => {
      const { id, fence } = this.#ref(call, off);
      return { id, fence, actual: amountsOf(tokens), holdMs: 0, frozenUntilMs: null, ...rest };
    });
    const wanted = this.model.settle(settlements, this.#engine.knownEpoch());
    deepEqual(await this.#engine.sidecar.settle(settlements), wanted);
  }

  async #register(step: Step & { do: 'register' }): Promise<void> {
    const owner = OWNERS[step.owner]!;
    const leases = this.#leasesOf(step).map((lease) => {
      const call = this.#calls.find(({ request: { id } }) => id === lease.id)!;
      return { lease, request: call.request, sent: step.sent };
    });
    const unused = this.#calls.at(-1);
    const disclaimed = step.disclaim && unused ? [unused.request.id, 'never-seen'] : [];
    // The client sends leases and disclaimed ids in calls of their own.
    const wanted = this.model.register({ owner, leases, disclaimed: [] });
    if (disclaimed.length > 0) this.model.register({ owner, leases: [], disclaimed });
    deepEqual(await this.#engine.sidecar.register({ owner, leases, disclaimed }), wanted);
    this.#learn(wanted.epoch);
  }

  #leasesOf({ owner, skip }: { readonly owner: number; readonly skip: number }): readonly LeaseRef[] {
    return this.#calls
      .filter(({ request: { owner: of }, fence }) => of === OWNERS[owner] && fence > 0)
      .filter((_, index) => skip === 0 || index % (skip + 1) !== 0)
      .map(({ request: { id }, fence }) => ({ id, fence, epoch: this.#epoch ?? 0 }));
  }

  #ref(index: number, off: number): LeaseRef {
    const call = this.#calls[index % Math.max(1, this.#calls.length)];
    return { id: call?.request.id ?? 'nobody', fence: (call?.fence ?? 0) + off, epoch: this.#epoch ?? 0 };
  }

  #learn(epoch: number): void {
    this.#epoch = Math.max(this.#epoch ?? 0, epoch);
  }
}
