/**
 * The only module that reads Lua: from the folder beside it, also in a bundle, whose builder puts the files there.
 */
import { readFileSync } from 'node:fs';

/** One function of the library each, in a file of its name. */
export const OPERATIONS = [
  'acquire',
  'claim',
  'settle',
  'swap',
  'cancel',
  'beat',
  'register',
  'tick',
  'configure',
  'govern',
  'snapshot',
  'audit',
] as const;

/** In the order in which they form one library: later files use what earlier ones define. */
export const LUA_FILES = [
  'records',
  'prelude',
  'nodes',
  'anchored',
  'meters',
  'charges',
  'guarantees',
  'paths',
  'leases',
  'check',
  'flows',
  'lines',
  'turns',
  'queue',
  'guard',
  'dispatch',
  'calibrate',
  'ledger',
  'checkpoint',
  'settings',
  'remember',
  ...OPERATIONS,
] as const;

/** File name without `.lua` → its text. */
export const LUA_SOURCES: Readonly<Record<(typeof LUA_FILES)[number], string>> = readSources();

function readSources(): typeof LUA_SOURCES {
  const texts = LUA_FILES.map((name) => [name, readFileSync(new URL(`./lua/${name}.lua`, import.meta.url), 'utf8')]);
  return Object.fromEntries(texts) as typeof LUA_SOURCES;
}
