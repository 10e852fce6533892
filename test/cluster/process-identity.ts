/** Processes by number and start time, so that a reused number is never mistaken for the old process. */
import { readFileSync } from 'node:fs';

export interface ProcessIdentity {
  readonly pid: number;
  /** Clock ticks since boot, field 22 of `/proc/<pid>/stat`. */
  readonly startTicks: number;
}

interface Stat {
  readonly state: string;
  readonly startTicks: number;
}

function stat(pid: number): Stat | undefined {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/stat`, 'utf8');
  } catch {
    return undefined;
  }
  // The second field is the program's name in parentheses and may itself hold spaces and parentheses.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return { state: fields[0] ?? '', startTicks: Number(fields[19]) };
}

/** The identity of a running process; start time 0, which nothing matches, when there is none. */
export function identify(pid: number): ProcessIdentity {
  return { pid, startTicks: stat(pid)?.startTicks ?? 0 };
}

/** False also for a zombie: it holds nothing any more, and a slow parent may take seconds to reap it. */
export function isAlive({ pid, startTicks }: ProcessIdentity): boolean {
  const now = stat(pid);
  return now !== undefined && now.state !== 'Z' && now.startTicks === startTicks;
}
