import { AppError } from '#sidecar/base/errors.ts';
import type { BeatReply, BeatRequest, LeaseRef, Notice, SwapReply } from '#sidecar/engine/port.ts';
import type {
  AcquireRequest,
  Denied,
  Grant,
  Queued,
  Settlement,
  SettleReply,
  TreeSnapshot,
  Verdict,
} from '#sidecar/engine/terms.ts';
import type { LeaseEngine, OpenEngine } from '#sidecar/leases/metered-engine.ts';

type Alive = Extract<BeatReply, { kind: 'alive' }>;

/** An engine that answers as told and notes what it was asked; by default it grants and keeps everything. */
export class ScriptedEngine implements LeaseEngine {
  readonly asked: AcquireRequest[] = [];
  readonly settled: Settlement[] = [];
  readonly settleCalls: number[] = [];
  readonly swaps: { readonly settlement: Settlement; readonly next: AcquireRequest }[] = [];
  readonly cancelled: string[] = [];
  /** Cancelled with their place kept. */
  readonly kept: string[] = [];
  readonly beaten: BeatRequest[] = [];
  readonly claimed: { readonly lease: LeaseRef; readonly isConfirmed: boolean }[] = [];
  readonly registered: Parameters<LeaseEngine['register']>[0][] = [];
  ticks = 0;
  snapshots = 0;
  /** Subscriptions that stand. */
  listening = 0;
  epoch = 1;
  down = false;
  serverNowMs = 5_000_000;
  fence = 0;
  tree: TreeSnapshot | null = null;
  onAcquire: (request: AcquireRequest) => Verdict | Promise<Verdict> = (request) => this.grant(request.id);
  onBeat: (request: BeatRequest) => BeatReply | Promise<BeatReply> = () => this.alive();
  onSettle: (settlement: Settlement) => SettleReply = () => ({ kind: 'settled', late: false, overdraft: false });
  onClaim: () => boolean = () => true;
  /** What `tick` says: when to ask again. */
  onTick: () => number | null = () => null;
  /** Runs after the settlement of a swap and before its question. */
  onSwap: () => void = () => undefined;
  readonly #mailbox: Notice[] = [];
  #mail = Promise.withResolvers<void>();

  get beats(): number {
    return this.beaten.length;
  }

  get claims(): number {
    return this.claimed.length;
  }

  grant(id: string, change: Partial<Grant> = {}): Grant {
    const at = this.serverNowMs;
    const fence = ++this.fence;
    const times = { grantedAtMs: at, serverNowMs: at, ttlMs: 15_000 };
    return { kind: 'granted', id, fence, epoch: this.epoch, ...times, warnings: [], ...change };
  }

  queued(id: string, change: Partial<Queued> = {}): Queued {
    const { epoch, serverNowMs } = this;
    return { kind: 'queued', id, epoch, position: 1, etaMs: null, serverNowMs, nextTickMs: null, ...change };
  }

  denied(change: Partial<Denied> = {}): Denied {
    const blame = { reason: 'Concurrency', node: 'account', limit: 'concurrency', used: 4, amount: 4 } as const;
    return { kind: 'denied', ...blame, retryAtMs: null, serverNowMs: this.serverNowMs, ...change };
  }

  alive(change: Partial<Alive> = {}): BeatReply {
    const { epoch, serverNowMs } = this;
    const rest = { lost: [], waiting: [], notices: [], nextTickMs: null };
    return { kind: 'alive', epoch, serverNowMs, owners: 1, ...rest, ...change };
  }

  /** Lets this many calls wait, then grants. */
  queueFirst(count: number): void {
    this.onAcquire = ({ id }) => (count-- > 0 ? this.queued(id) : this.grant(id));
  }

  /** To whoever listens. */
  push(notice: Notice): void {
    this.#mailbox.push(notice);
    this.#mail.resolve();
  }

  pushGrant(id: string, change: Partial<Grant> = {}): void {
    this.push({ kind: 'granted', id, grant: this.grant(id, { ttlMs: 10_000, ...change }) });
  }

  async *notices(_owner: string, signal: AbortSignal, opened?: () => void): AsyncGenerator<Notice> {
    this.listening += 1;
    const aborted = Promise.withResolvers<void>();
    signal.addEventListener('abort', () => aborted.resolve(), { once: true });
    opened?.();
    try {
      while (!signal.aborted) {
        const next = this.#mailbox.shift();
        if (next) {
          yield next;
          continue;
        }
        this.#mail = Promise.withResolvers<void>();
        await Promise.race([this.#mail.promise, aborted.promise]);
      }
    } finally {
      this.listening -= 1;
    }
  }

  async acquire(request: AcquireRequest): Promise<Verdict> {
    this.asked.push(request);
    this.#check();
    return this.onAcquire(request);
  }

  async claim(lease: LeaseRef, options: { readonly confirm?: boolean } = {}): Promise<boolean> {
    this.claimed.push({ lease, isConfirmed: options.confirm === true });
    this.#check();
    return this.onClaim();
  }

  async settle(settlements: readonly Settlement[]): Promise<readonly SettleReply[]> {
    this.#check();
    this.settleCalls.push(settlements.length);
    this.settled.push(...settlements);
    return settlements.map((each) => this.onSettle(each));
  }

  async swap(settlement: Settlement, next: AcquireRequest): Promise<SwapReply> {
    this.#check();
    this.swaps.push({ settlement, next });
    this.settled.push(settlement);
    const settled = this.onSettle(settlement);
    this.onSwap();
    return { settled, verdict: await this.onAcquire(next) };
  }

  async cancel(id: string, options: { readonly keepPlace?: boolean } = {}): Promise<void> {
    this.#check();
    this.cancelled.push(id);
    if (options.keepPlace === true) this.kept.push(id);
  }

  async beat(request: BeatRequest): Promise<BeatReply> {
    this.beaten.push(request);
    this.#check();
    return this.onBeat(request);
  }

  async tick(): Promise<{ serverNowMs: number; nextTickMs: number | null }> {
    this.ticks++;
    this.#check();
    return { serverNowMs: this.serverNowMs, nextTickMs: this.onTick() };
  }

  async register(request: Parameters<LeaseEngine['register']>[0]): Promise<{ epoch: number }> {
    this.#check();
    this.registered.push(request);
    return { epoch: this.epoch };
  }

  reconnects = 0;
  readonly passwords: string[] = [];

  /** As a connection that stands at once. */
  opened(onClose: () => void = () => undefined): OpenEngine {
    return {
      engine: this,
      ready: async () => undefined,
      reconnect: async () => void this.reconnects++,
      authenticate: (password) => void this.passwords.push(password),
      [Symbol.asyncDispose]: async () => onClose(),
    };
  }

  async snapshot(): Promise<TreeSnapshot | null> {
    this.snapshots++;
    this.#check();
    return this.tree;
  }

  #check(): void {
    if (this.down) throw new AppError('unavailable', 'Redis is away');
  }
}
