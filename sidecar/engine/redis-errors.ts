/** What Redis or the connection says → AppError. The only place that looks at Redis' error prefixes. */
import { AppError, isAbort, type Code } from '../base/errors.ts';

/** Error prefix (the first word of a reply) → code and what to tell. */
const PREFIXES: Readonly<Record<string, { readonly code: Code; readonly message: string }>> = {
  NOTREE: { code: 'unavailable', message: 'this tree is not configured in Redis' },
  OOM: { code: 'unavailable', message: 'Redis is out of memory: nothing new is granted' },
  READONLY: { code: 'unavailable', message: 'this Redis is a replica' },
  LOADING: { code: 'unavailable', message: 'Redis is loading its data' },
  MASTERDOWN: { code: 'unavailable', message: 'this replica has lost its master' },
  CLUSTERDOWN: { code: 'unavailable', message: 'the Redis cluster is down' },
  TRYAGAIN: { code: 'unavailable', message: 'Redis is moving this tree' },
  ASK: { code: 'unavailable', message: 'Redis is moving this tree' },
  MOVED: { code: 'unavailable', message: 'this tree lives on another Redis' },
  BUSY: { code: 'unavailable', message: 'Redis is busy with another script' },
  NOSCRIPT: { code: 'unavailable', message: 'Redis does not keep the scripts' },
  UNBLOCKED: { code: 'unavailable', message: 'this Redis has become a replica' },
  NOREPLICAS: { code: 'unavailable', message: 'Redis has too few replicas' },
  MISCONF: { code: 'unavailable', message: 'Redis cannot persist its data' },
  NOAUTH: { code: 'unavailable', message: 'Redis wants credentials' },
  WRONGPASS: { code: 'unavailable', message: 'Redis refuses these credentials' },
  NOPERM: { code: 'forbidden', message: 'this Redis user may not do that' },
};

/** The server has no such command, or this user may not give it: the same may go in another form. */
export function isFormRefused(reason: unknown): boolean {
  return reason instanceof Error && /^(ERR unknown command|NOPERM .* run the )/.test(reason.message);
}

/** The script cache lacks this script: it is emptied by a restart and is never replicated. */
export function isNoScript(reason: unknown): boolean {
  return reason instanceof Error && reason.message.startsWith('NOSCRIPT');
}

/** Where a cluster wants this call instead, as far as is known; null: that is no reason to ask again. */
export function redirectOf(reason: unknown): Redirect | null {
  if (!(reason instanceof Error)) return null;
  const [word, , address = null] = reason.message.split(' ', 3);
  if (word === 'MOVED') return { kind: 'moved', address };
  if (word === 'ASK') return { kind: 'ask', address };
  const isOnTheMove = word === 'TRYAGAIN' || word === 'CLUSTERDOWN' || word === 'LOADING';
  // A server that is gone is replaced, sooner or later.
  const isGone = reason.name !== 'ReplyError' && reason.message !== TIMED_OUT;
  return isOnTheMove || isGone ? { kind: 'again', address: null } : null;
}

/** What the client says when there was no answer: the call may have been carried out. */
const TIMED_OUT = 'Command timed out';

export interface Redirect {
  /** `moved`: for good. `ask`: this time, after ASKING. `again`: in a moment. */
  readonly kind: 'moved' | 'ask' | 'again';
  /** `host:port`; null: whoever owns the slot. */
  readonly address: string | null;
}

export function storeError(reason: unknown): AppError {
  if (reason instanceof AppError) return reason;
  if (isAbort(reason) || !(reason instanceof Error)) return AppError.from(reason);
  if (reason.name !== 'ReplyError')
    return new AppError('unavailable', `Redis cannot be asked: ${reason.message}`, { cause: reason });
  const known = PREFIXES[reason.message.split(' ', 1)[0] ?? ''];
  if (known) return new AppError(known.code, known.message, { cause: reason });
  if (reason.message.startsWith('ERR The user executing the script'))
    return new AppError('forbidden', 'this Redis user may not do that', { cause: reason });
  if (reason.message.startsWith('ERR unknown command'))
    return new AppError('unsupported', 'this Redis lacks a command: it must be 7.0 or newer', { cause: reason });
  // The record of the configuration is on the move, which is not declared (rule W5): its slot is the others'.
  if (reason.message.startsWith('ERR Script attempted to access'))
    return new AppError('unavailable', 'Redis is moving this tree', { cause: reason });
  if (reason.message.startsWith('ERR Function not found'))
    return new AppError('unavailable', 'the function library is not loaded', { cause: reason });
  return new AppError('internal', reason.message, { cause: reason });
}
