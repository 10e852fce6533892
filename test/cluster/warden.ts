/**
 * `node warden.ts <folder>`: removes a folder's residue when its standard input ends, which it does when the process
 * that started it ends in whatever way, SIGKILL included. It leads its own session, so Ctrl-C does not reach it.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { identify, type ProcessIdentity } from './process-identity.ts';
import { removeResidue } from './residue.ts';

export interface Warden {
  readonly identity: ProcessIdentity;
  /** Removes everything now; rejects naming what could not be removed. */
  dismiss(): Promise<void>;
  /** Ends the warden without removing anything. */
  release(): Promise<void>;
}

export async function postWarden(folder: string): Promise<Warden> {
  const child = spawn(process.execPath, [import.meta.filename, folder], {
    detached: true,
    stdio: ['pipe', 'ignore', 'pipe'],
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' },
  });
  await once(child, 'spawn');
  const ended = once(child, 'exit');
  let problems = '';
  child.stderr.on('data', (chunk: Buffer) => (problems += chunk.toString()));
  child.unref();
  (child.stdin as Socket).unref();
  (child.stderr as Socket).unref();
  const end = async (word: string): Promise<void> => {
    child.ref();
    child.stdin.end(word);
    const [code] = await ended;
    if (code !== 0) throw new Error(`clean-up of ${folder} failed: ${problems.trim()}`);
  };
  return { identity: identify(child.pid ?? 0), dismiss: () => end(''), release: () => end('release') };
}

if (import.meta.main) {
  const [folder = ''] = process.argv.slice(2);
  let word = '';
  for await (const chunk of process.stdin) word += String(chunk);
  if (word !== 'release') await removeResidue(folder);
}
