/** Identifiers and randomness enter the program here. */
import { createHash, randomBytes } from 'node:crypto';

type Source = (count: number) => Buffer;
let source: Source = randomBytes;

/**
 * Takes randomness from `bytes` until the result is disposed: a simulation repeats a run from its seed. What is made of it
 * can be guessed; nothing but tests may do this.
 */
export function drawFrom(bytes: Source): Disposable {
  const before = source;
  use(bytes);
  return { [Symbol.dispose]: () => use(before) };
}

function use(next: Source): void {
  source = next;
  pool = Buffer.alloc(0);
  poolAt = 0;
}

const ID_BYTES = 16;
/** Asking the kernel costs twenty times what an identifier does: ask for many at once. */
const POOL_BYTES = 256 * ID_BYTES;
let pool: Buffer = Buffer.alloc(0);
let poolAt = 0;

/** A fresh identifier of one call, owner or process: 22 characters, URL-safe, 128 random bits. */
export function newId(): string {
  if (poolAt >= pool.length) {
    pool = source(POOL_BYTES);
    poolAt = 0;
  }
  poolAt += ID_BYTES;
  return pool.toString('base64url', poolAt - ID_BYTES, poolAt);
}

/** A number in [0, 1), for jitter only. */
export function jitter(): number {
  return source(4).readUInt32BE() / 2 ** 32;
}

const BASE32 = 'abcdefghijklmnopqrstuvwxyz234567';

/** Lower-case RFC 4648 base32 without padding of the SHA-256 of `text`, cut to `length` characters (at most 52). */
export function hashName(text: string, length: number): string {
  let bits = 0n;
  for (const byte of createHash('sha256').update(text).digest()) bits = (bits << 8n) | BigInt(byte);
  bits <<= 4n; // 256 bits are 51.2 characters: pad to 52
  let out = '';
  for (let i = 0; i < 52; i++) out = (BASE32[Number((bits >> BigInt(5 * i)) & 31n)] ?? '') + out;
  return out.slice(0, length);
}
