/** Programs that run until they are ended, each in its own session, with its output in a log file. */
import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { identify, type ProcessIdentity } from './process-identity.ts';

export interface Daemon {
  readonly name: string;
  readonly identity: ProcessIdentity;
  readonly logPath: string;
  readonly ended: Promise<void>;
  /** Throws with the end of the log when the program has ended. */
  assertRunning(): void;
  kill(signal: NodeJS.Signals): void;
}

/** Without proxy settings: these programs talk to loopback and to the cluster only. */
function daemonEnvironment(): NodeJS.ProcessEnv {
  const entries = Object.entries(process.env).filter(([name]) => !/^(http|https|all|no)_proxy$|^KUBE|^GO/i.test(name));
  return Object.fromEntries(entries);
}

/** The last lines of a log file, for error messages. */
function tail(logPath: string, lines = 15): string {
  return readFileSync(logPath, 'utf8').trimEnd().split('\n').slice(-lines).join('\n');
}

/**
 * Starts a program in its own session. It keeps running when this process ends: record its identity (`residue.ts`) for
 * whoever cleans up then.
 */
export async function startDaemon(
  name: string,
  command: readonly string[],
  logPath: string,
  env: NodeJS.ProcessEnv = daemonEnvironment(),
): Promise<Daemon> {
  const [program = '', ...args] = command;
  const log = openSync(logPath, 'a');
  let child: ChildProcess;
  try {
    child = spawn(program, args, { detached: true, stdio: ['ignore', log, log], env });
    await new Promise((resolve, reject) => {
      child.once('spawn', resolve);
      child.once('error', reject);
    });
  } finally {
    closeSync(log);
  }
  child.unref();
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  return {
    name,
    identity: identify(child.pid ?? 0),
    logPath,
    ended,
    assertRunning: () => {
      if (child.exitCode === null && child.signalCode === null) return;
      throw new Error(`${name} ended with ${child.signalCode ?? child.exitCode}:\n${tail(logPath)}`);
    },
    kill: (signal) => {
      child.kill(signal);
    },
  };
}
