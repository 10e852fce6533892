/** `node test/cluster/build.ts [name…]`: builds what the cluster needs and the cache lacks, and prints where it is. */
import { BINARY_NAMES, ensureBinaries, type BinaryName } from './binaries.ts';

const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => !BINARY_NAMES.includes(name as BinaryName));
if (unknown.length > 0) {
  console.error(`build: no such program: ${unknown.join(', ')}; there are ${BINARY_NAMES.join(', ')}`);
  process.exit(2);
}
const log = (line: string): void => console.error(`cluster: ${line}`);
const paths = await ensureBinaries(wanted.length > 0 ? (wanted as BinaryName[]) : BINARY_NAMES, { log });
for (const [name, path] of Object.entries(paths)) console.log(`${name} ${path}`);
