/** Flat arrays from Lua → the engine's words. Anything unexpected is a bug and fails with code `internal`. */
import { AppError } from '../base/errors.ts';
import type { BeatReply, CalibrationReply, Notice, SwapReply } from './port.ts';
import {
  DENY_REASONS,
  type AuditReport,
  type ConfigureReply,
  type Denied,
  type DenyReason,
  type Grant,
  type NodeSnapshot,
  type SettleReply,
  type TreeSnapshot,
  type UsageSnapshot,
  type Verdict,
  type Warning,
} from './terms.ts';
import { RESOURCES, type TreeKey } from './tree-terms.ts';

const REASONS: readonly string[] = DENY_REASONS;
const BREAKERS = ['Closed', 'Open', 'HalfOpen'] as const;

/** Reads the items of one array in order. */
class Items {
  readonly #items: readonly unknown[];
  #next = 0;

  constructor(value: unknown) {
    if (!Array.isArray(value)) throw unexpected(value);
    this.#items = value;
  }

  get done(): boolean {
    return this.#next >= this.#items.length;
  }

  any(): unknown {
    return this.#items[this.#next++];
  }

  text(): string {
    const item = this.any();
    if (typeof item !== 'string') throw unexpected(item);
    return item;
  }

  number(): number {
    const item = this.any();
    if (typeof item !== 'number') throw unexpected(item);
    return item;
  }

  /** A counter: sent as digits, because the client's parser is off by one near 2^53. */
  amount(): number {
    const amount = Number(this.text());
    if (!Number.isSafeInteger(amount)) throw unexpected(amount);
    return amount;
  }

  /** -1 stands for "not known". */
  optional(): number | null {
    const item = this.number();
    return item === -1 ? null : item;
  }

  flag(): boolean {
    return this.number() === 1;
  }

  rest<T>(read: (items: this) => T): T[] {
    const all: T[] = [];
    while (!this.done) all.push(read(this));
    return all;
  }
}

function unexpected(value: unknown): AppError {
  return new AppError('internal', `unexpected reply of the engine: ${JSON.stringify(value)?.slice(0, 200)}`);
}

export function decodeVerdict(reply: unknown, id: string): Verdict {
  const items = new Items(reply);
  const kind = items.text();
  switch (kind) {
    case 'granted':
      return decodeGrant(items, id);
    case 'denied':
      return decodeDenied(items);
    case 'queued': {
      const [epoch, position, etaMs] = [items.number(), items.number(), items.optional()];
      return { kind, id, epoch, position, etaMs, serverNowMs: items.number(), nextTickMs: items.optional() };
    }
    case 'stale':
      return { kind, generation: items.number() };
    case 'epoch':
      return { kind, epoch: items.number() };
    case 'done':
      return { kind };
    default:
      throw unexpected(reply);
  }
}

function decodeGrant(items: Items, id: string): Grant {
  const [fence, epoch] = [items.number(), items.number()];
  const [grantedAtMs, serverNowMs, ttlMs] = [items.number(), items.number(), items.number()];
  const warnings: Warning[] = [];
  while (!items.done) warnings.push({ node: items.text(), limit: items.text(), percent: items.number() });
  return { kind: 'granted', id, fence, epoch, grantedAtMs, serverNowMs, ttlMs, warnings };
}

function decodeDenied(items: Items): Denied {
  const [reason, node, limit] = [reasonOf(items.text()), items.text(), items.text()];
  const [used, amount] = [items.amount(), items.amount()];
  return {
    kind: 'denied',
    reason,
    node,
    limit,
    used,
    amount,
    retryAtMs: items.optional(),
    serverNowMs: items.number(),
  };
}

/** What became of a waiter, as a beat tells it: its id, then a verdict. */
function decodeNotice(reply: unknown): Notice {
  const items = new Items(reply);
  return noticeFrom(items);
}

/** The same as it is published: one item a line. Null: not a notice. */
export function parseNotice(text: string): Notice | null {
  const [id, kind, ...rest] = text.split('\n');
  if (id === undefined || (kind !== 'granted' && kind !== 'denied')) return null;
  const values: unknown[] = rest.map((item, index) => (isNumber(kind, index) ? Number(item) : item));
  return noticeFrom(new Items([id, kind, ...values]));
}

/** Which items of a published verdict are numbers; the others are texts (amounts travel as digits). */
function isNumber(kind: 'granted' | 'denied', index: number): boolean {
  if (kind === 'denied') return index >= 5;
  return index < 5 || (index - 5) % 3 === 2;
}

function noticeFrom(items: Items): Notice {
  const [id, kind] = [items.text(), items.text()];
  if (kind === 'granted') return { kind, id, grant: decodeGrant(items, id) };
  if (kind === 'denied') return { kind, id, denial: decodeDenied(items) };
  throw unexpected(kind);
}

export function decodeSwap(reply: unknown, id: string): SwapReply {
  const items = new Items(reply);
  return { settled: decodeSettle(items.any()), verdict: decodeVerdict(items.any(), id) };
}

export function decodeTick(reply: unknown): { serverNowMs: number; nextTickMs: number | null } {
  const items = new Items(reply);
  return { serverNowMs: items.number(), nextTickMs: items.optional() };
}

export function decodeCalibrated(reply: unknown): CalibrationReply {
  const items = new Items(reply);
  const kind = items.text();
  if (kind !== 'applied' && kind !== 'kept' && kind !== 'unknown') throw unexpected(reply);
  return { kind, before: items.amount(), after: items.amount() };
}

export function decodeReclaimed(reply: unknown): { leases: number; waiters: number } {
  const items = new Items(reply);
  return { leases: items.number(), waiters: items.number() };
}

function reasonOf(text: string): DenyReason {
  if (!REASONS.includes(text)) throw unexpected(text);
  return text as DenyReason;
}

/** One reply for each of `count` settlements. */
export function decodeSettled(reply: unknown, count: number): readonly SettleReply[] {
  const items = new Items(reply);
  const replies: SettleReply[] = [];
  while (!items.done) replies.push(decodeSettle(items.any()));
  const [only] = replies;
  if (only?.kind === 'epoch') return Array.from({ length: count }, () => only);
  if (replies.length !== count) throw unexpected(reply);
  return replies;
}

function decodeSettle(reply: unknown): SettleReply {
  const items = new Items(reply);
  const kind = items.text();
  switch (kind) {
    case 'settled':
      return { kind, late: items.flag(), overdraft: items.flag() };
    case 'unknown':
      return { kind };
    case 'epoch':
      return { kind, epoch: items.number() };
    default:
      throw unexpected(reply);
  }
}

export function decodeBeat(reply: unknown): BeatReply {
  const items = new Items(reply);
  const kind = items.text();
  if (kind === 'epoch') return { kind, epoch: items.number() };
  if (kind !== 'alive') throw unexpected(reply);
  const [epoch, serverNowMs, nextTickMs] = [items.number(), items.number(), items.optional()];
  const owners = items.number();
  const lost = new Items(items.any()).rest((each) => each.text());
  const waiting = new Items(items.any()).rest((each) => {
    return { id: each.text(), position: each.number(), etaMs: each.optional() };
  });
  const notices = new Items(items.any()).rest((each) => decodeNotice(each.any()));
  return { kind, epoch, serverNowMs, nextTickMs, owners, lost, waiting, notices };
}

export function decodeNumber(reply: unknown): number {
  return new Items([reply].flat()).number();
}

export function decodeConfigured(reply: unknown): ConfigureReply {
  const items = new Items(reply);
  const kind = items.text();
  switch (kind) {
    case 'applied':
      return { kind, generation: items.number() };
    case 'fenced': {
      const [leaseCreatedMs, transitions, generation] = [items.number(), items.number(), items.number()];
      return { kind, revision: { leaseCreatedMs, transitions, generation } };
    }
    case 'conflict':
      return { kind, namespace: items.text(), name: items.text() };
    default:
      throw unexpected(reply);
  }
}

/** Null: the tree is not configured. */
export function decodeSnapshot(reply: unknown, key: TreeKey): TreeSnapshot | null {
  if (reply === null) return null;
  const items = new Items(reply);
  const epoch = items.number();
  const [leaseCreatedMs, transitions, generation] = [items.number(), items.number(), items.number()];
  const [configHash, serverNowMs, leases] = [items.text(), items.number(), items.number()];
  const nodes: NodeSnapshot[] = [];
  while (!items.done) nodes.push(decodeNode(items.any()));
  const revision = { leaseCreatedMs, transitions, generation };
  return { key, epoch, revision, configHash, serverNowMs, nodes, leases };
}

function decodeNode(reply: unknown): NodeSnapshot {
  const items = new Items(reply);
  const [name, inFlight, concurrency, stopped] = [items.text(), items.number(), items.optional(), items.flag()];
  const [queued, frozenUntilMs, breaker] = [items.number(), items.optional(), BREAKERS[items.number()]];
  if (breaker === undefined) throw unexpected(reply);
  const [rateWaitUs, oldestWaiterMs] = [items.number(), items.optional()];
  const usage = items.rest((each) => decodeUsage(each.any()));
  const waiting = { queued, rateWaitUs, oldestWaiterMs };
  return { name, inFlight, concurrency, stopped, ...waiting, frozenUntilMs, breaker, usage };
}

function decodeUsage(reply: unknown): UsageSnapshot {
  const items = new Items(reply);
  const [limit, resource] = [items.text(), RESOURCES[items.number() - 1]];
  if (resource === undefined) throw unexpected(reply);
  const [amount, used, reserved] = [items.amount(), items.amount(), items.amount()];
  const seen = { limit, resource, amount, used, reserved, resetsAtMs: items.optional() };
  const [loMs, hiMs] = [items.optional(), items.optional()];
  return loMs === null ? seen : { ...seen, anchor: { loMs, hiMs } };
}

export function decodeAudit(reply: unknown, key: TreeKey): AuditReport {
  const items = new Items(reply);
  const leases = items.number();
  const drifts: AuditReport['drifts'][number][] = [];
  while (!items.done) {
    const [node, counter] = [items.text(), items.text()];
    drifts.push({ node, counter, stored: items.amount(), recounted: items.amount() });
  }
  return { key, leases, drifts };
}
