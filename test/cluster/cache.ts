/** The cache outside the checkout: binaries and images, each made once and published whole. */
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { identify, isAlive, type ProcessIdentity } from './process-identity.ts';

export type Log = (line: string) => void;

/** `$GLMQUOTA_CACHE`, else `glmquota` in `$XDG_CACHE_HOME`, else in `~/.cache`. */
export function cacheRoot(): string {
  const { GLMQUOTA_CACHE, XDG_CACHE_HOME } = process.env;
  return GLMQUOTA_CACHE || join(XDG_CACHE_HOME || join(homedir(), '.cache'), 'glmquota');
}

async function lockOwner(path: string): Promise<ProcessIdentity | undefined> {
  try {
    return JSON.parse(await readFile(path, 'utf8')) as ProcessIdentity;
  } catch {
    return undefined; // gone, or its owner is between creating and writing it
  }
}

async function tryLock(path: string): Promise<boolean> {
  try {
    await writeFile(path, JSON.stringify(identify(process.pid)), { flag: 'wx' });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

/**
 * Runs `work` while no other process does under the same lock file; waits for the other and tells so.
 * A lock whose owner died is broken. Two breakers may then both proceed: `work` must publish by rename.
 */
export async function withLock<T>(
  path: string,
  options: { readonly log: Log; readonly signal?: AbortSignal | undefined },
  work: () => Promise<T>,
): Promise<T> {
  await mkdir(dirname(path), { recursive: true });
  let ownerless = 0;
  for (let waited = 0; !(await tryLock(path)); waited++) {
    const owner = await lockOwner(path);
    ownerless = owner === undefined ? ownerless + 1 : 0;
    if (ownerless > 10 || (owner !== undefined && !isAlive(owner))) await rm(path, { force: true });
    if (owner !== undefined && waited === 2) options.log(`waiting for process ${owner.pid}, which builds the same`);
    await delay(200, undefined, options.signal ? { signal: options.signal } : {});
  }
  try {
    return await work();
  } finally {
    await rm(path, { force: true });
  }
}

const PARTIAL = '.partial-';

/** What a killed process was in the middle of making. */
async function removeAbandoned(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    const [, pid] = name.split(PARTIAL);
    if (pid !== undefined && !existsSync(`/proc/${pid}`))
      await rm(join(folder, name), { recursive: true, force: true });
  }
}

/** Makes `target` (file or folder) by letting `make` write a neighbour and renaming that, so that nobody sees half of it. */
export async function publish(target: string, make: (partial: string) => Promise<void>): Promise<void> {
  await mkdir(dirname(target), { recursive: true });
  await removeAbandoned(dirname(target));
  const partial = `${target}${PARTIAL}${process.pid}`;
  try {
    await make(partial);
    await rename(partial, target);
  } catch (error) {
    await rm(partial, { recursive: true, force: true });
    throw error;
  }
}
