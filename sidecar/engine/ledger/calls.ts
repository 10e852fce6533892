/** Arguments and replies as the Lua got and gave them → calls. The inverse of `requests.ts` and `client.ts`. Pure. */
import { AppError } from '../../base/errors.ts';
import type { LedgerCall } from './terms.ts';
import type { Packed } from './msgpack.ts';
import * as replies from '../replies.ts';
import { parseRecord } from '../requests.ts';
import { type AcquireRequest, type Settlement } from '../terms.ts';
import { PRIORITY_CLASSES, type Amounts } from '../tree-terms.ts';
import { parseTree } from '../tree-text.ts';

/** The texts of ARGV, one after the other. */
class Words {
  readonly #words: readonly string[];
  #next = 0;

  constructor(words: readonly string[]) {
    this.#words = words;
  }

  get done(): boolean {
    return this.#next >= this.#words.length;
  }

  text(): string {
    const word = this.#words[this.#next++];
    if (word === undefined) throw new AppError('invalid', 'an entry of the ledger has too few arguments');
    return word;
  }

  number(): number {
    const number = Number(this.text());
    if (Number.isNaN(number)) throw new AppError('invalid', 'an entry of the ledger has no number where one belongs');
    return number;
  }

  /** Empty: none. */
  maybe(): number | null {
    const text = this.text();
    return text === '' ? null : Number(text);
  }

  /** -1: none. */
  offset(): number | null {
    const number = this.number();
    return number === -1 ? null : number;
  }

  flag(): boolean {
    return this.text() === '1';
  }

  times<T>(count: number, read: () => T): T[] {
    return Array.from({ length: count }, read);
  }

  rest<T>(read: () => T): T[] {
    const all: T[] = [];
    while (!this.done) all.push(read());
    return all;
  }
}

/** Fails with code `invalid` for what is no call of this version. */
export function decodeCall(operation: string, args: readonly string[], reply: Packed): LedgerCall {
  const words = new Words(args);
  const decode = CALLS[operation];
  if (!decode) throw new AppError('invalid', `the ledger names an unknown operation ${operation}`);
  return decode(words, reply);
}

const CALLS: Readonly<Record<string, (words: Words, reply: Packed) => LedgerCall>> = {
  acquire(words, reply) {
    const request = acquireRequest(words);
    return { op: 'acquire', request, reply: replies.decodeVerdict(reply, request.id) };
  },
  claim(words, reply) {
    return { op: 'claim', lease: leaseOf(words), reply: reply === 1 };
  },
  settle(words, reply) {
    const epoch = words.maybe();
    const settlements = words.rest(() => settlementOf(words));
    return { op: 'settle', epoch, settlements, reply: replies.decodeSettled(reply, settlements.length) };
  },
  swap(words, reply) {
    const epoch = words.maybe();
    const settlement = settlementOf(words);
    const [id, owner, generation] = [words.text(), words.text(), words.number()];
    const request = callOf(words, { id, owner, generation, epoch: null });
    return { op: 'swap', epoch, settlement, request, reply: replies.decodeSwap(reply, id) };
  },
  cancel(words, reply) {
    return { op: 'cancel', id: words.text(), keepPlace: words.flag(), reply: reply === 1 };
  },
  beat(words, reply) {
    const [owner, epoch, count] = [words.text(), words.maybe(), words.text()];
    const leases = count === '*' ? null : words.times(Number(count), () => leaseOf(words));
    const request = { owner, epoch, leases, waiters: words.rest(() => words.text()) };
    return { op: 'beat', request, reply: replies.decodeBeat(reply) };
  },
  register(words, reply) {
    const owner = words.text();
    const disclaimed = words.times(words.number(), () => words.text());
    const leases = words.rest(() => {
      const lease = { ...leaseOf(words), epoch: 0 };
      const sent = words.flag();
      return { lease, sent, request: callOf(words, { id: lease.id, owner, generation: 0, epoch: null }) };
    });
    return { op: 'register', request: { owner, leases, disclaimed }, reply: { epoch: replies.decodeNumber(reply) } };
  },
  tick(_words, reply) {
    return { op: 'tick', reply: replies.decodeTick(reply) };
  },
  configure,
  govern,
};

function configure(words: Words, reply: Packed): LedgerCall {
  words.times(3, () => words.text());
  const [leaseCreatedMs, transitions, generation] = [words.number(), words.number(), words.number()];
  const [hash, text, lost] = [words.text(), words.text(), words.flag()];
  const remembered = words.times(words.number(), () => {
    const use = { node: words.text(), limit: words.text(), used: words.number(), anchorMs: words.offset() };
    const anchorLoMs = words.offset();
    return anchorLoMs === null ? use : { ...use, anchorLoMs };
  });
  const learnt = words.times(words.number(), () => {
    return { node: words.text(), rateUntilMs: words.offset(), concurrency: words.offset() };
  });
  const revision = { leaseCreatedMs, transitions, generation };
  const about = { tree: parseTree(text), revision, hash, lost, remembered, learnt };
  return { op: 'configure', ...about, reply: replies.decodeConfigured(reply) };
}

function govern(words: Words, reply: Packed): LedgerCall {
  const what = words.text();
  switch (what) {
    case 'reclaim': {
      const [prefix, except] = [words.text(), words.text()];
      const owners = { prefix, except: except === '' ? null : except };
      return { op: 'reclaim', owners, reply: replies.decodeReclaimed(reply) };
    }
    case 'drain':
      return { op: 'drain', process: words.text(), draining: words.flag() };
    case 'move':
      return { op: 'declareMove', move: { untilMs: words.number(), identities: words.rest(() => words.text()) } };
    case 'freeze':
      return { op: 'freeze', node: words.text(), untilMs: words.offset() };
    case 'reset': {
      const [node, limit] = [words.text(), words.text()];
      return { op: 'resetWindow', node, limit, reply: replies.decodeNumber(reply) === 1 };
    }
    case 'calibrate': {
      const [limit, used, resetAtMs, pollStartMs] = [words.text(), words.number(), words.offset(), words.number()];
      const reading = { limit, used, resetAtMs, pollStartMs };
      return { op: 'calibrate', reading, reply: replies.decodeCalibrated(reply) };
    }
    default:
      throw new AppError('invalid', `the ledger names an unknown operation ${what}`);
  }
}

function acquireRequest(words: Words): AcquireRequest {
  const [id, owner, generation, epoch] = [words.text(), words.text(), words.number(), words.maybe()];
  return callOf(words, { id, owner, generation, epoch });
}

const MODES = { R: 'Reject', S: 'UntilSlot', W: 'UntilWindow' } as const;

function callOf(words: Words, who: Pick<AcquireRequest, 'id' | 'owner' | 'generation' | 'epoch'>): AcquireRequest {
  const [leaf, model, maxRuntimeMs] = [words.text(), words.text(), words.number()];
  const priority = PRIORITY_CLASSES[words.number() - 1];
  const [flowKey, mode] = [words.text(), MODES[words.text() as keyof typeof MODES]];
  if (priority === undefined || mode === undefined)
    throw new AppError('invalid', 'the ledger has no such class or mode');
  const [maxWaitMs, place] = [words.number(), words.text()];
  const attributes = attributesOf(words);
  return {
    ...who,
    leaf,
    model,
    maxRuntimeMs,
    class: priority,
    flowKey,
    wait: { mode, maxWaitMs },
    place: place === '' ? null : place,
    attributes,
    reserve: amountsOf(words),
  };
}

function attributesOf(words: Words): AcquireRequest['attributes'] {
  const names = ['tool', 'capability', 'source', 'user', 'pool', 'namespace'] as const;
  return Object.fromEntries(names.map((name) => [name, words.text()]).filter(([, value]) => value !== ''));
}

function amountsOf(words: Words): Amounts {
  return {
    requests: words.number(),
    prompts: words.number(),
    inputTokens: words.number(),
    cachedTokens: words.number(),
    outputTokens: words.number(),
    microCredits: words.number(),
    nanoCost: words.number(),
    costUnits: words.number(),
    runtimeSeconds: words.number(),
  };
}

function leaseOf(words: Words): { readonly id: string; readonly fence: number } {
  return { id: words.text(), fence: words.number() };
}

function settlementOf(words: Words): Settlement {
  const { id, fence } = leaseOf(words);
  const outcome = words.text() as Settlement['outcome'];
  const [sentAfterMs, firstByteAfterMs] = [words.offset(), words.offset()];
  const [holdMs, frozenUntilMs] = [words.number(), words.offset()];
  const actual = amountsOf(words);
  const times = { sentAfterMs, firstByteAfterMs, holdMs, frozenUntilMs };
  return { id, fence, outcome, ...times, actual, record: parseRecord(words.text()) };
}
