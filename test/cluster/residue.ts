/**
 * What a running cluster or API server would leave behind, written down before it is made, and its removal. The record
 * lies in the folder it speaks of, so that whoever comes after a SIGKILL can still clean up.
 */
import { existsSync, readdirSync, readFileSync, renameSync, rmdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
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

const NOTHING: Residue = { processes: [], links: [], cgroups: [] };
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
  writeResidue(folder, { ...NOTHING, owner: identify(process.pid) });
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
  const { owner: _owner, ...rest } = readResidue(folder) ?? NOTHING;
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

async function endProcesses({ processes }: Residue): Promise<void> {
  const living = processes.filter((each) => isAlive(each));
  for (const each of living) kill(each);
  const names = living.map(({ pid }) => pid).join(', ');
  await until(`processes ${names}`, () => !living.some((each) => isAlive(each)));
}

async function removeLinks({ links }: Residue): Promise<void> {
  const isThere = (link: string): boolean => existsSync(`/sys/class/net/${link}`);
  // It may go by itself in between, with the namespace its other end is in.
  for (const link of links.filter(isThere)) await run('ip', ['link', 'delete', link]).catch(() => undefined);
  await until(`network links ${links.join(', ')}`, () => !links.some(isThere));
}

/** Ends and removes everything in a folder's record, then the folder. Repeatable; rejects naming what stays. */
export async function removeResidue(folder: string): Promise<void> {
  const record = readResidue(folder);
  const residue = record ?? NOTHING;
  await endProcesses(residue);
  await removeLinks(residue);
  for (const cgroup of residue.cgroups) await until(cgroup, () => removedCgroup(cgroup));
  // Another remover may have been faster, and the folder be claimed anew by now.
  if (!isSameOwner(readResidue(folder), record)) return;
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

const CLAIM_MS = 60_000;

/** A folder whose owner died, or one without a record: claimed or removed by somebody who was killed right then. */
function isAbandoned(folder: string): boolean {
  const record = readResidue(folder);
  if (record) return record.owner !== undefined && !isAlive(record.owner);
  return Date.now() - (statSync(folder, { throwIfNoEntry: false })?.mtimeMs ?? Infinity) > CLAIM_MS;
}

/** Removes the folders under `parent` whose owner died without doing so. */
export async function removeStale(parent: string): Promise<void> {
  for (const name of existsSync(parent) ? readdirSync(parent) : [])
    if (isAbandoned(join(parent, name))) await removeResidue(join(parent, name));
}
