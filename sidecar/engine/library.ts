/** One Redis Function library from the files in `lua/`. */
import type { Redis } from 'ioredis';
import { ENGINE_CONSTANTS } from './constants.ts';
import { LUA_FILES, LUA_SOURCES, type OPERATIONS } from './lua-source.ts';

export type Operation = (typeof OPERATIONS)[number];

/**
 * Raised whenever keys, records, ARGV or replies change, so that old and new code can run side by side on one server
 * during an upgrade.
 */
export const ENGINE_VERSION = 'q2';

/** Where a library gets what only a server knows; tests have their own. */
const SERVER_SOURCE = `
local function read_clock_us()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000000 + tonumber(time[2])
end
local function injected_identity() return nil end
`;

export interface LibraryVariant {
  /** Prefix of the functions, and suffix of the library's name. */
  readonly version: string;
  /** Lua that defines `read_clock_us(keys)` and `injected_identity(keys)`. */
  readonly source: string;
}

const PRODUCTION: LibraryVariant = { version: ENGINE_VERSION, source: SERVER_SOURCE };

/** The text that `FUNCTION LOAD` takes. */
export function assembleLibrary({ version, source }: LibraryVariant = PRODUCTION): string {
  const constants = Object.entries(ENGINE_CONSTANTS).map(([name, value]) => `local ${name} = ${value}`);
  const register = `local function register(name, callback, flags)
  redis.register_function({ function_name = '${version}_' .. name, callback = callback, flags = flags })
end`;
  const files = LUA_FILES.map((name) => `-- ${name}.lua\n${LUA_SOURCES[name]}`);
  return [`#!lua name=glmquota_${version}`, ...constants, register, source, ...files].join('\n');
}

/** Loads the library, replacing one of the same version; other versions stay. Fails with what Redis says. */
export async function loadLibrary(redis: Redis, variant: LibraryVariant = PRODUCTION): Promise<void> {
  await redis.call('FUNCTION', 'LOAD', 'REPLACE', assembleLibrary(variant));
}
