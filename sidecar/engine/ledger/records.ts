/** Records as `lua/records.lua`, `queue.lua` and `prelude.lua` store them → what they say. Fields have their names there. Pure. */
import { isMap, unpack, type Packed } from './msgpack.ts';
import { Struct } from './struct.ts';

/** META_FIELDS of `lua/prelude.lua`. */
const META_FIELDS = [
  'epoch',
  'wall_us',
  'now_us',
  'fence',
  'steps',
  'gap_from',
  'no_reap_until',
  'mass_from',
  'seq',
  'vtime',
  'waiting',
  'waiting_system',
  'last_system',
  'hold_ms',
  'held_at',
  'learn_until',
  'learn_all',
  'draining',
  'guarded',
  'entries',
  'runnable_others',
  'bytes',
  'denied_s',
  'unlogged',
  'skipped',
] as const;

export type MetaRecord = Readonly<Record<(typeof META_FIELDS)[number], number>> & { readonly identity: string };

export function decodeMeta(bytes: Buffer): MetaRecord {
  const struct = new Struct(bytes);
  const numbers = Object.fromEntries(META_FIELDS.map((name) => [name, struct.double()])) as Record<
    (typeof META_FIELDS)[number],
    number
  >;
  return { ...numbers, identity: struct.text() };
}

export interface NodeRecord {
  readonly rate: { readonly tat: number | null; readonly rt: number; readonly rl: number; readonly rn: number };
  readonly learnt: Readonly<Record<string, Packed>>;
  readonly windows: readonly WindowRecord[];
}

export interface PeriodRecord {
  readonly s: number;
  readonly u: number;
  readonly k: number;
  readonly v: number;
  readonly lo: number | null;
  readonly hi: number | null;
  readonly hf: number;
  readonly sf: number | null;
  readonly sl: number | null;
  readonly su: number | null;
  readonly fl: number;
}

export type WindowRecord = { readonly key: string; readonly amount: number | null } & (
  | {
      readonly t: 'A';
      readonly d: number;
      readonly f: number;
      readonly e: number;
      readonly periods: readonly PeriodRecord[];
    }
  | { readonly t: 'P'; readonly shares: readonly { readonly s: number; readonly u: number }[] }
  | { readonly t: 'C' | 'F'; readonly s: number; readonly e: number; readonly u: number }
  | { readonly t: 'S'; readonly buckets: readonly { readonly bucket: number; readonly amount: number }[] }
);

export function decodeNode(bytes: Buffer): NodeRecord {
  const struct = new Struct(bytes);
  // In flight, not sent, class System: recounted from the leases.
  struct.times(3, () => struct.double());
  const rate = { tat: struct.known(), rt: struct.double(), rl: struct.double(), rn: struct.double() };
  const [count, size] = [struct.byte(), struct.word()];
  const learnt = size === 0 ? {} : unpack(struct.bytes(size));
  const windows = struct.times(count, (): WindowRecord => {
    const kind = struct.bytes(1).toString();
    const about = { key: struct.text(), amount: struct.known() };
    return { ...about, ...windowOf(struct, kind) } as WindowRecord;
  });
  return { rate, learnt: isMap(learnt) ? learnt : {}, windows };
}

function windowOf(struct: Struct, kind: string): object {
  switch (kind) {
    case 'A': {
      const [d, , f, e] = struct.times(6, () => struct.double());
      return { t: 'A', d, f, e, periods: twice(struct, () => periodOf(struct)) };
    }
    case 'P':
      struct.text();
      struct.text();
      struct.times(2, () => struct.double());
      return { t: 'P', shares: twice(struct, () => shareOf(struct)) };
    case 'C': {
      struct.text();
      const [s, e, u] = struct.times(9, () => struct.double());
      return { t: 'C', s, e, u };
    }
    case 'F': {
      const [, s, e, u] = struct.times(10, () => struct.double());
      return { t: 'F', s, e, u };
    }
    default: {
      struct.times(4, () => struct.double());
      const count = struct.short() / 2;
      return { t: 'S', buckets: struct.times(count, () => ({ bucket: struct.double(), amount: struct.double() })) };
    }
  }
}

const ONE = '1'.charCodeAt(0);

/** The current and the next one, as far as they are there. */
function twice<T>(struct: Struct, read: () => T): readonly T[] {
  const [current, following] = struct.bytes(2);
  const there = [current, following].filter((flag) => flag === ONE);
  return there.map(read);
}

function periodOf(struct: Struct): PeriodRecord {
  const [s = 0, u = 0, , k = 0, v = 0] = struct.times(6, () => struct.double());
  const [lo, hi, hf, sf] = [struct.known(), struct.known(), struct.double(), struct.known()];
  const [sl, su, fl] = [struct.known(), struct.known(), struct.double()];
  struct.times(2, () => struct.double());
  return { s, u, k, v, lo, hi, hf, sf, sl, su, fl };
}

function shareOf(struct: Struct): { readonly s: number; readonly u: number } {
  const [s = 0, u = 0] = struct.times(5, () => struct.double());
  return { s, u };
}

export interface ChargeRecord {
  readonly n: string;
  readonly R: number;
  readonly k: number;
  readonly b: number;
  readonly m: number;
  readonly q: number;
  readonly a: number;
}

export interface LeaseRecord {
  readonly o: string;
  readonly f: number;
  readonly s: number;
  readonly g: number;
  readonly w: number;
  readonly m: number;
  readonly q: number;
  readonly v: number;
  readonly x: number;
  readonly c: number;
  readonly d: number;
  readonly h: number;
  readonly p: number;
  readonly n: readonly { readonly node: string; readonly number: number; readonly charges: readonly ChargeRecord[] }[];
}

export function decodeLease(bytes: Buffer): LeaseRecord {
  const struct = new Struct(bytes);
  const o = struct.text();
  const [f = 0, s = 0, g = 0, w = 0, m = 0] = struct.times(5, () => struct.double());
  const [q = 0, v = 0, x = 0, c = 0, d = 0, h = 0] = struct.times(6, () => struct.byte());
  const p = struct.double();
  const n = struct.times(struct.byte(), () => {
    const [node, number] = [struct.text(), struct.double()];
    const charges = struct.times(struct.byte(), (): ChargeRecord => {
      const name = struct.text();
      const [R = 0, k = 0, b = 0, m = 0] = struct.times(4, () => struct.double());
      return { n: name, R, k, b, m, q: struct.byte(), a: struct.byte() };
    });
    return { node, number, charges };
  });
  return { o, f, s, g, w, m, q, v, x, c, d, h, p, n };
}

const WAITER_TEXTS = [
  'owner',
  'leaf',
  'model',
  'tool',
  'capability',
  'source',
  'user',
  'pool',
  'namespace',
  'key',
  'place',
  'mode',
  'sub',
] as const;

export type WaiterRecord = Readonly<Record<(typeof WAITER_TEXTS)[number], string>> & {
  readonly class: number;
  readonly deadline: number;
  readonly round: number;
  readonly seq: number;
  readonly longest: number;
  readonly since: number;
  /** By resource index. */
  readonly amounts: readonly number[];
};

export function decodeWaiter(bytes: Buffer): WaiterRecord {
  const struct = new Struct(bytes);
  const texts = Object.fromEntries(WAITER_TEXTS.map((name) => [name, struct.text()])) as Record<
    (typeof WAITER_TEXTS)[number],
    string
  >;
  const priority = struct.byte();
  const [deadline = 0, round = 0, seq = 0, , longest = 0, since = 0] = struct.times(6, () => struct.double());
  const amounts = struct.rest(() => struct.double());
  return { ...texts, class: priority, deadline, round, seq, longest, since, amounts };
}

export interface FlowRecord {
  readonly birth: number;
  readonly tag: number;
  readonly round: number;
  readonly class: number;
  readonly leaf: string;
  readonly locals: readonly (readonly [string, number])[];
}

export function decodeFlow(bytes: Buffer): FlowRecord {
  const struct = new Struct(bytes);
  const [birth = 0, tag = 0, round = 0, , priority = 0] = struct.times(5, () => struct.double());
  const [leaf, count] = [struct.text(), struct.double()];
  const locals = struct.times(count, () => [struct.text(), struct.double()] as const);
  return { birth, tag, round, class: priority, leaf, locals };
}

export function decodeSub(bytes: Buffer): { birth: number; flow: string; x: string } {
  const struct = new Struct(bytes);
  const [birth, flow] = [struct.double(), struct.text()];
  struct.times(2, () => struct.double());
  return { birth, flow, x: struct.text() };
}

export function decodeBottleneck(bytes: Buffer): {
  v: number;
  first: number;
  bypass: number;
  tag: number;
  birth: number;
  round: number;
  seq: number;
} {
  const struct = new Struct(bytes);
  const [v = 0, first = 0, bypass = 0, ...at] = struct.times(7, () => struct.double());
  const [tag = 0, birth = 0, round = 0, seq = 0] = at;
  return { v, first, bypass, tag, birth, round, seq };
}

export function decodeOwner(bytes: Buffer): { readonly seen: number; readonly epoch: number } {
  const struct = new Struct(bytes);
  const [, seen = 0, epoch = 0] = struct.times(3, () => struct.double());
  return { seen, epoch };
}

export function decodePlace(bytes: Buffer): { readonly sub: string; readonly round: number; readonly seq: number } {
  const struct = new Struct(bytes);
  return { sub: struct.text(), round: struct.double(), seq: struct.double() };
}

export function decodeTurn(bytes: Buffer): { readonly birth: number; readonly round: number } {
  const struct = new Struct(bytes);
  return { birth: struct.double(), round: struct.double() };
}
