/** What the owners of a history know: their calls, leases and epochs. */
import type { Model } from '#sidecar/engine/model.ts';
import type { BeatReply, LeaseRef, RegisterRequest } from '#sidecar/engine/port.ts';
import type { AcquireRequest, Settlement, Verdict } from '#sidecar/engine/terms.ts';
import { request, START_MS } from '#test/support/engine.ts';
import { amountsOf } from './shapes.ts';
import { LEAVES, MODELS, OWNERS, TOOLS, USERS, type Asking, type Settling } from './steps.ts';

interface Known {
  readonly request: AcquireRequest;
  /** Of its last lease, however it was granted; 0: it had none. */
  fence: number;
  /** Owners that were told to wait, and not what became of it: another may ask for an id that its owner has lost. */
  readonly waitsFor: Set<string>;
}

interface Some {
  readonly owner: number;
  /** Every so many-th is left out; 0: none. */
  readonly skip: number;
}

export class Callers {
  readonly #calls: Known[] = [];
  #epoch: number | null = null;

  get epoch(): number | null {
    return this.#epoch;
  }

  newCall(asking: Asking, generation: number): AcquireRequest {
    const epoch = { known: this.#epoch, none: null, wrong: (this.#epoch ?? START_MS) - 1 }[asking.epoch];
    const [tool, user] = [TOOLS[asking.tool]!, USERS[asking.user]!];
    const call = request(`call-${this.#calls.length}`, {
      owner: OWNERS[asking.owner]!,
      leaf: LEAVES[asking.leaf]!,
      model: MODELS[asking.model]!,
      generation: generation - asking.behind,
      epoch,
      reserve: amountsOf(asking.tokens),
      maxRuntimeMs: 60_000,
      class: asking.class,
      flowKey: asking.flow === 0 ? '' : 'other',
      attributes: { ...(tool ? { tool } : {}), ...(user ? { user } : {}) },
      wait: { mode: asking.mode, maxWaitMs: asking.maxWaitMs },
      place: asking.place === null ? null : `place-${asking.place}`,
    });
    this.#calls.push({ request: call, fence: 0, waitsFor: new Set() });
    return call;
  }

  /** A call made before; none before the first. */
  call(index: number): AcquireRequest | undefined {
    return this.#at(index)?.request;
  }

  get last(): AcquireRequest | undefined {
    return this.#calls.at(-1)?.request;
  }

  indexOf(id: string): number {
    return this.#calls.findIndex(({ request: call }) => call.id === id);
  }

  ref(index: number, off: number): LeaseRef {
    const call = this.#at(index);
    return { id: call?.request.id ?? 'nobody', fence: (call?.fence ?? 0) + off, epoch: this.#epoch ?? 0 };
  }

  settlement({ call, off, tokens, frozenForMs, ...rest }: Settling, nowMs: number): Settlement {
    const { id, fence } = this.ref(call, off);
    const frozenUntilMs = frozenForMs === null ? null : nowMs + frozenForMs;
    return { id, fence, actual: amountsOf(tokens), frozenUntilMs, ...rest };
  }

  leasesOf({ owner, skip }: Some): readonly LeaseRef[] {
    return this.#of(skip, ({ request: { owner: of }, fence }) => of === OWNERS[owner] && fence > 0).map(
      ({ request: { id }, fence }) => ({
        id,
        fence,
        epoch: this.#epoch ?? 0,
      }),
    );
  }

  waitersOf({ owner, skip }: Some): readonly string[] {
    return this.#of(skip, ({ waitsFor }) => waitsFor.has(OWNERS[owner]!)).map(({ request: { id } }) => id);
  }

  registrationsOf(some: Some & { readonly sent: boolean }): RegisterRequest['leases'] {
    return this.leasesOf(some).map((lease) => {
      const call = this.#calls.find(({ request: { id } }) => id === lease.id)!;
      return { lease, request: call.request, sent: some.sent };
    });
  }

  hear(request: AcquireRequest, verdict: Verdict): void {
    if (verdict.kind === 'granted' || verdict.kind === 'queued') this.learn(verdict.epoch);
    if (verdict.kind === 'epoch') this.#epoch = verdict.epoch;
    else if (verdict.kind !== 'stale') this.#heardFor(request, verdict.kind === 'queued');
  }

  #heardFor({ id, owner }: AcquireRequest, isQueued: boolean): void {
    const call = this.#calls.find((each) => each.request.id === id);
    if (!call) return;
    if (isQueued) call.waitsFor.add(owner);
    else call.waitsFor.delete(owner);
    // Tried again: the lease it had is settled.
    if (isQueued) call.fence = 0;
  }

  hearBeat(owner: string, reply: BeatReply): void {
    if (reply.kind !== 'alive') return;
    this.learn(reply.epoch);
    const told = [...reply.notices.map(({ id }) => id), ...reply.lost];
    for (const call of this.#calls) if (told.includes(call.request.id)) call.waitsFor.delete(owner);
  }

  learn(epoch: number): void {
    this.#epoch = Math.max(this.#epoch ?? 0, epoch);
  }

  /** What was granted meanwhile is pushed to its owner. */
  noteGrants({ tree }: Model): void {
    const live = new Map(tree.leases.live.map((lease) => [lease.request.id, lease.fence]));
    for (const call of this.#calls) call.fence = live.get(call.request.id) ?? call.fence;
  }

  #at(index: number): Known | undefined {
    return this.#calls[index % Math.max(1, this.#calls.length)];
  }

  #of(skip: number, wanted: (call: Known) => boolean): readonly Known[] {
    return this.#calls.filter(wanted).filter((_, index) => skip === 0 || index % (skip + 1) !== 0);
  }
}
