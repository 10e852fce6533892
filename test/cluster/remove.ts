/** `node test/cluster/remove.ts [name…]`: removes embedded clusters that were kept; without names all of them. */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { clustersFolder } from './embedded/slot.ts';
import { readResidue, removeResidue, removeStale } from './residue.ts';

const parent = clustersFolder();
await removeStale(parent);
const present = existsSync(parent) ? readdirSync(parent) : [];
const wanted = process.argv.slice(2);
for (const name of wanted.length > 0 ? wanted : present) {
  const folder = join(parent, name);
  if (wanted.length === 0 && readResidue(folder)?.owner) console.log(`${name} is in use`);
  else if (!present.includes(name)) console.log(`${name} does not exist`);
  else await removeResidue(folder).then(() => console.log(`${name} removed`));
}
