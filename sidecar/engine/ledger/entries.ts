/** Entries of a ledger's stream → what they say. Pure. */
import { AppError } from '../../base/errors.ts';
import { decodeCall } from './calls.ts';
import type { CallEntry, DenialsEntry, EpochEntry, GapEntry, LedgerEntry, StateEntry } from './terms.ts';
import { unpack, type Packed } from './msgpack.ts';

/** Id and fields of an entry as Redis gives them. */
export type RawEntry = readonly [Buffer, readonly Buffer[] | null];

/** Fails with code `invalid` for an entry of another version, or of somebody else. */
export function decodeEntry([id, fields]: RawEntry): LedgerEntry {
  const found = new Map<string, Buffer>();
  const flat = fields ?? [];
  for (const [index, field] of flat.entries()) {
    const value = flat[index + 1];
    if (index % 2 === 0 && value) found.set(field.toString(), value);
  }
  const [seq, packed] = [found.get('s'), found.get('e')];
  if (!seq || !packed) throw new AppError('invalid', `entry ${id.toString()} is none of this ledger`);
  return { id: id.toString(), seq: Number(seq.toString()), ...decodeBody(packed) };
}

function decodeBody(packed: Buffer): CallEntry | EpochEntry | DenialsEntry | GapEntry | StateEntry {
  const body = new Body(unpack(packed));
  const kind = body.text();
  switch (kind) {
    case 'call':
      return callEntry(body);
    case 'epoch': {
      const [epoch, lastSeq] = [body.number(), body.number()];
      return { kind, epoch, lastSeq, identity: body.text(), isEmpty: body.number() === 1 };
    }
    case 'denials':
      return { kind, atMs: body.number() * 1000, denials: body.list().rest(denialsOf) };
    case 'gap': {
      const why = body.text() === 'memory' ? 'memory' : 'trimmed';
      const [firstSeq, lastSeq, group] = [body.number(), body.number(), body.text()];
      return { kind, why, firstSeq, lastSeq, group: group === '' ? null : group };
    }
    case 'state':
      return stateEntry(new Body(unpack(packed, 'latin1')));
    default:
      throw new AppError('invalid', `the ledger has an entry of an unknown kind ${kind.slice(0, 40)}`);
  }
}

function callEntry(body: Body): CallEntry {
  const [operation, epoch, wallUs] = [body.text(), body.number(), body.number()];
  const args = body.list().rest((words) => words.text());
  const call = decodeCall(operation, args, body.any());
  const after = body.list();
  const [fence, seq, waiting, leases] = [after.number(), after.number(), after.number(), after.number()];
  return { kind: 'call', epoch, wallUs, call, after: { fence, seq, waiting, leases }, before: clockOf(body) };
}

function clockOf(body: Body): CallEntry['before'] {
  if (body.done) return null;
  const clock = body.list();
  const [wallUs, logicalUs] = [clock.number(), clock.number()];
  return { wallUs, logicalUs, gapFromMs: clock.number(), noReapUntilMs: clock.number() };
}

function denialsOf(list: Body): DenialsEntry['denials'][number] {
  return { node: list.text(), reason: list.text(), limit: list.text(), count: list.number() };
}

function stateEntry(body: Body): StateEntry {
  body.text();
  const [isLast, key] = [body.number() === 1, body.text()];
  const bytes = (text: string): Buffer => Buffer.from(text, 'latin1');
  const items = body.list().rest((list) => [bytes(list.text()), bytes(list.text())] as const);
  return { kind: 'state', isLast, key, items };
}

/** The items of a list, one after the other. */
class Body {
  readonly #items: readonly Packed[];
  #next = 0;

  constructor(value: Packed | undefined) {
    if (!isList(value)) throw new AppError('invalid', 'the ledger has no list where one belongs');
    this.#items = value;
  }

  get done(): boolean {
    return this.#next >= this.#items.length;
  }

  any(): Packed {
    return this.#items[this.#next++] ?? null;
  }

  text(): string {
    const item = this.any();
    if (typeof item !== 'string') throw new AppError('invalid', 'the ledger has no text where one belongs');
    return item;
  }

  number(): number {
    const item = this.any();
    if (typeof item !== 'number') throw new AppError('invalid', 'the ledger has no number where one belongs');
    return item;
  }

  list(): Body {
    return new Body(this.any());
  }

  rest<T>(read: (body: this) => T): T[] {
    const all: T[] = [];
    while (!this.done) all.push(read(this));
    return all;
  }
}

function isList(value: Packed | undefined): value is readonly Packed[] {
  return Array.isArray(value);
}
