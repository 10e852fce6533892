/**
 * What a running cluster or API server would leave behind, written down before it is made, and its removal. The record
 * lies in the folder it speaks of, so that whoever comes after a SIGKILL can still clean up.
 */
import { existsSync, readdirSync, readFileSync, renameSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { run } from './command.ts';
import { identify, isAlive, type ProcessIdentity } from './process-identity.ts';

export interface Residue {
  /** The process whose end makes this stale; none when it shall outlive its maker (`--keep`). */
  readonly owner?: ProcessIdentity;
  readonly processes: readonly ProcessIdentity[];
  /** Network links of the host, by name. */
  readonly links: readonly string[];
  /** Control group folders, absolute; removed with all below them. */
  readonly cgroups: readonly string[];
}

const RECORD = 'residue.json';
const DEADLINE_MS = 20_000;

/** Where records lie: root's cluster state, or a user's, for API servers need no root. */
export function stateRoot(): string {
  return process.getuid?.() === 0 ? '/var/lib/glmquota' : `/tmp/glmquota-${process.getuid?.()}`;
}

/** Claims a folder; false when it exists already. It belongs to this process until {@link removeResidue}. */
export async function claimFolder(folder: string): Promise<boolean> {
  for (let made = false; !made;) {
    await mkdir(dirname(folder), { recursive: true });
    try {
      await mkdir(folder);
      made = true;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'EEXIST') return false;
      // Another process just removed the empty parent.
      if (code !== 'ENOENT') throw error;
    }
  }
  writeResidue(folder, { owner: identify(process.pid), processes: [], links: [], cgroups: [] });
  return true;
}

export function readResidue(folder: string): Residue | undefined {
  try {
    return JSON.parse(readFileSync(join(folder, RECORD), 'utf8')) as Residue;
  } catch {
    return undefined;
  }
}

function writeResidue(folder: string, residue: Residue): void {
  writeFileSync(join(folder, `${RECORD}.new`), JSON.stringify(residue));
  renameSync(join(folder, `${RECORD}.new`), join(folder, RECORD));
}

/** Adds to a folder's record. Call before the thing is made where its name is known before. */
export function recordResidue(folder: string, more: Partial<Residue>): void {
  const now = readResidue(folder);
  if (!now) throw new Error(`${folder} was removed by another process`);
  writeResidue(folder, {
    ...now,
    processes: [...now.processes, ...(more.processes ?? [])],
    links: [...now.links, ...(more.links ?? [])],
    cgroups: [...now.cgroups, ...(more.cgroups ?? [])],
  });
}

/** Lets a folder outlive this process. */
export function keepResidue(folder: string): void {
  const { owner: _owner, ...rest } = readResidue(folder) ?? { processes: [], links: [], cgroups: [] };
  writeResidue(folder, rest);
}

async function until(what: string, isDone: () => boolean): Promise<void> {
  const deadline = performance.now() + DEADLINE_MS;
  while (!isDone()) {
    if (performance.now() > deadline) throw new Error(`${what} did not go away within ${DEADLINE_MS / 1000} s`);
    await delay(10);
  }
}

function kill({ pid }: ProcessIdentity): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It ended by itself in between.
  }
}

/** True when the folder is gone; a group that still holds a dying process refuses, and is tried again. */
function removedCgroup(path: string): boolean {
  if (!existsSync(path)) return true;
  for (const entry of readdirSync(path, { withFileTypes: true }))
    if (entry.isDirectory() && !removedCgroup(join(path, entry.name))) return false;
  try {
    rmdirSync(path);
    return true;
  } catch {
    return false;
  }
}

function isSameOwner(one: Residue | undefined, other: Residue | undefined): boolean {
  return one?.owner?.pid === other?.owner?.pid && one?.owner?.startTicks === other?.owner?.startTicks;
}

/** Ends and removes everything in a folder's record, then the folder. Repeatable; rejects naming what stays. */
export async function removeResidue(folder: string): Promise<void> {
  const residue = readResidue(folder);
  const processes = (residue?.processes ?? []).filter((each) => isAlive(each));
  for (const each of processes) kill(each);
  await until(
    `processes ${processes.map((each) => each.pid).join(', ')}`,
    () => !processes.some((each) => isAlive(each)),
  );
  for (const link of residue?.links ?? [])
    if (existsSync(`/sys/class/net/${link}`)) await run('ip', ['link', 'delete', link]).catch(() => undefined);
  await until('network links', () => !(residue?.links ?? []).some((link) => existsSync(`/sys/class/net/${link}`)));
  for (const cgroup of residue?.cgroups ?? []) await until(cgroup, () => removedCgroup(cgroup));
  // Another remover may have been faster, and the folder be claimed anew by now.
  if (!isSameOwner(readResidue(folder), residue)) return;
  rmSync(folder, { recursive: true, force: true });
  for (const parent of [dirname(folder), stateRoot()]) removeEmpty(parent);
}

function removeEmpty(folder: string): void {
  try {
    rmdirSync(folder);
  } catch {
    // Others still use it.
  }
}

/** Removes the folders under `parent` whose owner died without doing so. */
export async function removeStale(parent: string): Promise<void> {
  for (const name of existsSync(parent) ? readdirSync(parent) : []) {
    const folder = join(parent, name);
    const residue = readResidue(folder);
    if (residue?.owner && !isAlive(residue.owner)) await removeResidue(folder);
  }
}
