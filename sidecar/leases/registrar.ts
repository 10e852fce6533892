/** Puts the leases of this process back where Redis does not know them. */
import type { Log } from '../base/log.ts';
import type { LeaseRef, RegisterRequest } from '../engine/port.ts';
import type { Lease } from './lease-state.ts';
import type { LeaseEngine } from './metered-engine.ts';
import type { Outbox } from './outbox.ts';
import type { TreeView } from './tree-view.ts';

export interface RegistrarOptions {
  readonly engine: LeaseEngine;
  readonly owner: string;
  readonly view: TreeView;
  readonly leases: ReadonlyMap<string, Lease>;
  readonly outbox: Outbox;
  readonly log: Log;
  /** Told when Redis has a new memory, in which nobody waits yet. */
  readonly onMoved: () => void;
}

export class Registrar {
  readonly #options: RegistrarOptions;
  #registering: Promise<void> | null = null;

  constructor(options: RegistrarOptions) {
    this.#options = options;
  }

  /** Puts all our leases back under Redis' new epoch; many callers share one registration. */
  async register(epoch: number): Promise<void> {
    const { view } = this.#options;
    if (view.epoch !== null && view.epoch >= epoch) return;
    this.#registering ??= this.#registerAll().finally(() => {
      this.#registering = null;
    });
    await this.#registering;
  }

  /** What runs although Redis has let it go, or never heard of it, holds its slots, so that no other call is granted them. */
  async putBack(leases: readonly Lease[]): Promise<void> {
    if (leases.length === 0) return;
    const { engine, owner } = this.#options;
    const { epoch } = await engine.register({ owner, leases: leases.map(registrationOf), disclaimed: [] });
    for (const lease of leases) {
      lease.lost = false;
      lease.isLocal = false;
      lease.epoch = epoch;
    }
  }

  async #registerAll(): Promise<void> {
    const { engine, owner, view, outbox, log, onMoved } = this.#options;
    const leases = [...this.#options.leases.values(), ...outbox.leases()];
    const disclaimed = outbox.unused();
    const { epoch } = await engine.register({ owner, leases: leases.map(registrationOf), disclaimed });
    outbox.disclaimed(disclaimed);
    for (const lease of leases) {
      lease.epoch = epoch;
      lease.isLocal = false;
      // Times of the old memory mean nothing to the new one: claim before starting.
      lease.extendedAtMs = Number.NEGATIVE_INFINITY;
    }
    view.moved(epoch);
    log.info('lease.registered', { epoch, leases: leases.length, disclaimed: disclaimed.length });
    onMoved();
  }
}

export function refOf(lease: Lease): LeaseRef {
  return { id: lease.request.id, fence: lease.fence, epoch: lease.epoch };
}

function registrationOf(lease: Lease): RegisterRequest['leases'][number] {
  return { lease: refOf(lease), request: lease.request, sent: lease.sentAtMs !== null };
}
