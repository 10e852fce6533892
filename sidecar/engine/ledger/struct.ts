/** Reads what `struct.pack` of Redis' Lua writes, little-endian. Pure. */
import { AppError } from '../../base/errors.ts';

export class Struct {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get done(): boolean {
    return this.#at >= this.#bytes.length;
  }

  /** `d` */
  double(): number {
    return this.#bytes.readDoubleLE(this.#skip(8));
  }

  /** `d` that is -1 where there is none. */
  known(): number | null {
    const value = this.double();
    return value === -1 ? null : value;
  }

  /** `B` */
  byte(): number {
    return this.#bytes.readUInt8(this.#skip(1));
  }

  /** `H` */
  short(): number {
    return this.#bytes.readUInt16LE(this.#skip(2));
  }

  /** `I4` */
  word(): number {
    return this.#bytes.readUInt32LE(this.#skip(4));
  }

  /** `s`: ends with a zero byte. */
  text(): string {
    const end = this.#bytes.indexOf(0, this.#at);
    if (end < 0) throw new AppError('invalid', 'a text of a record has no end');
    const from = this.#skip(end + 1 - this.#at);
    return this.#bytes.toString('utf8', from, end);
  }

  /** `c<count>` */
  bytes(count: number): Buffer {
    const from = this.#skip(count);
    return this.#bytes.subarray(from, from + count);
  }

  times<T>(count: number, read: () => T): T[] {
    return Array.from({ length: count }, read);
  }

  rest<T>(read: () => T): T[] {
    const all: T[] = [];
    while (!this.done) all.push(read());
    return all;
  }

  #skip(count: number): number {
    const from = this.#at;
    this.#at += count;
    if (this.#at > this.#bytes.length) throw new AppError('invalid', 'a record is cut');
    return from;
  }
}
