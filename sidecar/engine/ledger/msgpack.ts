/** Reads what `cmsgpack.pack` of Redis' Lua writes. Pure. */
import { AppError } from '../../base/errors.ts';

export type Packed = null | boolean | number | string | readonly Packed[] | { readonly [key: string]: Packed };

/**
 * `texts`: how strings are read; `latin1` keeps every byte as one character. Fails with code `invalid` for anything else
 * than one whole value. Integers beyond 2^53 are read as the nearest double.
 */
export function unpack(bytes: Buffer, texts: 'utf8' | 'latin1' = 'utf8'): Packed {
  const reader = new Reader(bytes, texts);
  try {
    const value = reader.value();
    if (reader.at === bytes.length) return value;
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
  }
  throw new AppError('invalid', 'not one whole value of MessagePack');
}

class Reader {
  readonly #bytes: Buffer;
  readonly #texts: 'utf8' | 'latin1';
  at = 0;

  constructor(bytes: Buffer, texts: 'utf8' | 'latin1') {
    this.#bytes = bytes;
    this.#texts = texts;
  }

  value(): Packed {
    const tag = this.uint(1);
    if (tag < 0x80) return tag;
    if (tag >= 0xe0) return tag - 0x100;
    if (tag < 0x90) return this.map(tag & 0x0f);
    if (tag < 0xa0) return this.list(tag & 0x0f);
    if (tag < 0xc0) return this.text(tag & 0x1f);
    return this.#tagged(tag);
  }

  #tagged(tag: number): Packed {
    const read = TAGGED[tag];
    if (!read) throw new RangeError('unknown tag');
    return read(this);
  }

  float(size: 4 | 8): number {
    const from = this.#skip(size);
    return size === 4 ? this.#bytes.readFloatBE(from) : this.#bytes.readDoubleBE(from);
  }

  int(size: 1 | 2 | 4 | 8): number {
    const from = this.#skip(size);
    return size === 8 ? Number(this.#bytes.readBigInt64BE(from)) : this.#bytes.readIntBE(from, size);
  }

  uint(size: 1 | 2 | 4 | 8): number {
    const from = this.#skip(size);
    return size === 8 ? Number(this.#bytes.readBigUInt64BE(from)) : this.#bytes.readUIntBE(from, size);
  }

  #skip(count: number): number {
    const from = this.at;
    this.at += count;
    if (this.at > this.#bytes.length) throw new RangeError('cut');
    return from;
  }

  text(length: number): string {
    const from = this.#skip(length);
    return this.#bytes.toString(this.#texts, from, from + length);
  }

  list(length: number): readonly Packed[] {
    const list: Packed[] = [];
    while (list.length < length) list.push(this.value());
    return list;
  }

  map(length: number): { readonly [key: string]: Packed } {
    const entries: [string, Packed][] = [];
    while (entries.length < length) {
      const key = this.value();
      if (typeof key !== 'string') throw new RangeError('a key that is no text');
      entries.push([key, this.value()]);
    }
    return Object.fromEntries(entries);
  }
}

/** What the rarer tags announce. */
const TAGGED: Readonly<Record<number, (reader: Reader) => Packed>> = {
  0xc0: () => null,
  0xc2: () => false,
  0xc3: () => true,
  0xca: (reader) => reader.float(4),
  0xcb: (reader) => reader.float(8),
  0xcc: (reader) => reader.uint(1),
  0xcd: (reader) => reader.uint(2),
  0xce: (reader) => reader.uint(4),
  0xcf: (reader) => reader.uint(8),
  0xd0: (reader) => reader.int(1),
  0xd1: (reader) => reader.int(2),
  0xd2: (reader) => reader.int(4),
  0xd3: (reader) => reader.int(8),
  0xd9: (reader) => reader.text(reader.uint(1)),
  0xda: (reader) => reader.text(reader.uint(2)),
  0xdb: (reader) => reader.text(reader.uint(4)),
  0xdc: (reader) => reader.list(reader.uint(2)),
  0xdd: (reader) => reader.list(reader.uint(4)),
  0xde: (reader) => reader.map(reader.uint(2)),
  0xdf: (reader) => reader.map(reader.uint(4)),
};

export function isMap(value: Packed): value is { readonly [key: string]: Packed } {
  return value !== null && typeof value === 'object' && !Array.isArray(value);
}
