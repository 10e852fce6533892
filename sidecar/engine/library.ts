/** The engine's Lua as a server takes it, made from the files in `lua/`: one function library, or one script an operation. */
import { createHash } from 'node:crypto';
import { AppError } from '../base/errors.ts';
import { ENGINE_CONSTANTS } from './constants.ts';
import { isFormRefused } from './redis-errors.ts';
import { scopeFiles } from './lua-scope.ts';
import { LUA_FILES, LUA_SOURCES, OPERATIONS } from './lua-source.ts';

export type Operation = (typeof OPERATIONS)[number];

/**
 * Raised whenever keys, records, ARGV or replies change, so that old and new code can run side by side on one server
 * during an upgrade.
 */
export const ENGINE_VERSION = 'q3';

/** Versions before this one that a server keeps: sidecars may be two behind the operator. */
const VERSIONS_BEHIND = 2;

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
  /** Other numbers than the engine's own; for tests of what takes long or much. */
  readonly constants?: Partial<Record<keyof typeof ENGINE_CONSTANTS, number>>;
}

export const PRODUCTION: LibraryVariant = { version: ENGINE_VERSION, source: SERVER_SOURCE };

/** The text that `FUNCTION LOAD` takes. */
export function assembleLibrary({ version, source, constants }: LibraryVariant = PRODUCTION): string {
  const publish = `local function publish(name, callback, flags)
  redis.register_function({ function_name = '${version}_' .. name, callback = callback, flags = flags })
end`;
  return [`#!lua name=glmquota_${version}`, publish, source, files(LUA_FILES, constants)].join('\n');
}

/** What each operation's file registers it with: `allow-oom`, `no-writes` or nothing. */
export const OPERATION_FLAGS: Readonly<Record<Operation, readonly string[]>> = Object.fromEntries(
  OPERATIONS.map((operation) => [operation, registeredFlags(operation)]),
) as Record<Operation, readonly string[]>;

function registeredFlags(operation: Operation): readonly string[] {
  const registered = new RegExp(`^register\\('${operation}',[^{]*\\{([^}]*)\\}`, 'm').exec(LUA_SOURCES[operation]);
  if (!registered) throw new AppError('internal', `${operation}.lua does not register ${operation}`);
  return Array.from(registered[1]?.matchAll(/'([a-z-]+)'/g) ?? [], ([, flag]) => flag ?? '');
}

/** One operation as a script: what `EVAL` takes, and the SHA-1 by which `EVALSHA` finds it again. */
export interface Script {
  readonly text: string;
  readonly sha: string;
}

/**
 * Nothing of a script outlives its call: what a library keeps in upvalues (decoded configuration, the server's identity)
 * is read anew each time.
 */
export function assembleScript(operation: Operation, { source, constants }: LibraryVariant = PRODUCTION): Script {
  const flags = OPERATION_FLAGS[operation];
  const publish = `local operation
local function publish(name, callback)
  if name == '${operation}' then operation = callback end
end`;
  const needed = LUA_FILES.slice(0, LUA_FILES.indexOf(operation) + 1);
  const shebang = flags.length === 0 ? '#!lua' : `#!lua flags=${flags.join(',')}`;
  const text = [shebang, publish, source, files(needed, constants), 'return operation(KEYS, ARGV)'].join('\n');
  return { text, sha: createHash('sha1').update(text).digest('hex') };
}

function files(names: readonly (typeof LUA_FILES)[number][], constants: LibraryVariant['constants']): string {
  const texts = names.map((name) => ({ name, text: LUA_SOURCES[name] }));
  return scopeFiles(texts, { ...ENGINE_CONSTANTS, ...constants });
}

/** One server that takes commands; its errors are Redis' own. */
export interface Commandable {
  call(command: string, ...args: (string | number)[]): Promise<unknown>;
}

/** Loads the library, replacing one of the same version, and forgets versions that no sidecar may have any more. */
export async function loadLibrary(server: Commandable, variant: LibraryVariant = PRODUCTION): Promise<void> {
  await server.call('FUNCTION', 'LOAD', 'REPLACE', assembleLibrary(variant));
  for (const name of await libraries(server)) {
    if (isForgotten(name, variant.version)) await server.call('FUNCTION', 'DELETE', name).catch(ignoreMissing);
  }
}

/** Loads the library if the server lacks it; a server without functions needs none. */
export async function ensureLibrary(server: Commandable, variant: LibraryVariant = PRODUCTION): Promise<void> {
  try {
    const isThere = (await libraries(server)).includes(`glmquota_${variant.version}`);
    if (!isThere) await loadLibrary(server, variant);
  } catch (reason) {
    if (!isFormRefused(reason)) throw reason;
  }
}

/** Puts all operations into the server's script cache, so that the first calls need not carry their text. */
export async function loadScripts(server: Commandable, variant: LibraryVariant = PRODUCTION): Promise<void> {
  for (const operation of OPERATIONS) await server.call('SCRIPT', 'LOAD', assembleScript(operation, variant).text);
}

async function libraries(server: Commandable): Promise<readonly string[]> {
  const replies = (await server.call('FUNCTION', 'LIST', 'LIBRARYNAME', 'glmquota_*')) as readonly unknown[][];
  return replies.map((reply) => String(reply[reply.indexOf('library_name') + 1]));
}

/** Newer ones belong to an operator that takes over, names without a number to tests: neither is ours to remove. */
function isForgotten(name: string, version: string): boolean {
  const number = (text: string): number => Number(/^q(\d+)$/.exec(text)?.[1] ?? Number.NaN);
  return number(name.replace('glmquota_', '')) < number(version) - VERSIONS_BEHIND;
}

/** Two replicas of the operator may tidy up at once. */
function ignoreMissing(reason: unknown): void {
  if (!(reason instanceof Error && reason.message.includes('Library not found'))) throw reason;
}
