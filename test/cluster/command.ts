/** Programs run to their end. */
import { spawn } from 'node:child_process';

export interface CommandOptions {
  /** Written to the program's standard input, which is empty otherwise. */
  readonly stdin?: string | undefined;
  readonly env?: NodeJS.ProcessEnv | undefined;
  readonly cwd?: string | undefined;
  /** Kills the program with SIGTERM; the call then rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

class CommandError extends Error {
  override readonly name = 'CommandError';
  readonly exitCode: number;
  readonly stderr: string;

  constructor(command: string, exitCode: number, stderr: string) {
    super(`\`${command}\` ended with ${exitCode}: ${stderr.trim().slice(-2000)}`);
    this.exitCode = exitCode;
    this.stderr = stderr;
  }
}

/** The program's standard output. Rejects with {@link CommandError} when it ends with another status than 0. */
export async function run(program: string, args: readonly string[], options: CommandOptions = {}): Promise<string> {
  options.signal?.throwIfAborted();
  const child = spawn(program, args, {
    env: options.env,
    cwd: options.cwd,
    signal: options.signal,
    stdio: [options.stdin === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
  });
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  child.stdout?.on('data', (chunk: Buffer) => stdout.push(chunk));
  child.stderr?.on('data', (chunk: Buffer) => stderr.push(chunk));
  // A program that ends without reading its input breaks the pipe; its exit status tells what was wrong.
  child.stdin?.on('error', () => undefined);
  child.stdin?.end(options.stdin);
  const code = await new Promise<number>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (status) => resolve(status ?? 128));
  });
  options.signal?.throwIfAborted();
  if (code !== 0) throw new CommandError([program, ...args].join(' '), code, Buffer.concat(stderr).toString());
  return Buffer.concat(stdout).toString();
}
