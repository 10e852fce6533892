/** Tar (POSIX ustar) as image layers need it: plain files and their folders, owned by root, without times. */

const BLOCK = 512;

function octal(value: number, width: number): string {
  return `${value.toString(8).padStart(width - 1, '0')}\0`;
}

function header(name: string, size: number, mode: number, type: '0' | '5'): Buffer {
  if (Buffer.byteLength(name) > 100) throw new Error(`the path ${name} is longer than a ustar header holds`);
  const block = Buffer.alloc(BLOCK);
  block.write(name, 0);
  block.write(octal(mode, 8), 100);
  block.write(octal(0, 8), 108);
  block.write(octal(0, 8), 116);
  block.write(octal(size, 12), 124);
  block.write(octal(0, 12), 136);
  block.write('        ', 148);
  block.write(type, 156);
  block.write('ustar\u000000', 257);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return block;
}

/** The blocks of one file. `name` has no leading slash. */
export function* tarFile(name: string, content: Buffer, mode: number): Generator<Buffer> {
  yield header(name, content.length, mode, '0');
  yield content;
  yield Buffer.alloc((BLOCK - (content.length % BLOCK)) % BLOCK);
}

/** The block of one folder. `name` has no slash at either end. */
export function tarFolder(name: string, mode: number): Buffer {
  return header(`${name}/`, 0, mode, '5');
}

/** What ends an archive. */
export const TAR_END: Buffer = Buffer.alloc(2 * BLOCK);
