/**
 * The only module that reads Lua. A bundler replaces it by one that exports the same record with the texts inlined
 * (`LUA_SOURCES` is what it must provide).
 */
import { readFileSync } from 'node:fs';

/** In the order in which they form one library: later files use what earlier ones define. */
export const LUA_FILES = [
  'records',
  'prelude',
  'anchored',
  'meters',
  'charges',
  'leases',
  'acquire',
  'claim',
  'settle',
  'cancel',
  'beat',
  'register',
  'configure',
  'snapshot',
  'audit',
] as const;

/** File name without `.lua` → its text. */
export const LUA_SOURCES: Readonly<Record<(typeof LUA_FILES)[number], string>> = readSources();

function readSources(): typeof LUA_SOURCES {
  const texts = LUA_FILES.map((name) => [name, readFileSync(new URL(`./lua/${name}.lua`, import.meta.url), 'utf8')]);
  return Object.fromEntries(texts) as typeof LUA_SOURCES;
}
