/** Mutants of what the sidecar owes Redis, what it takes from snapshots, and what it does without either. */
import { ofLeases, type Mutant } from './mutant.ts';

const talk: readonly Mutant[] = [
  ...ofLeases('pulse', 'T3', [
    [
      'a beat without an answer is given up',
      "{ ms: BEAT_TIMEOUT_MS, what: 'a beat', signal }",
      "{ ms: 600_000, what: 'a beat', signal }",
      'endings',
    ],
    [
      'it is tried again on a fresh connection',
      '      await this.#reconnect(signal, error);\n      await this.#beatOnce(signal);',
      '      throw error;',
      'endings',
    ],
    ['an answer that refuses costs no connection', 'if (isAnswer(reason)) throw reason;', '', 'endings'],
    [
      'what runs though it is lost is put back',
      'await registrar.putBack(running.filter(',
      'void (running.filter(',
      'endings',
    ],
  ]),
  ...ofLeases('registrar', 'T7', [
    [
      'a registration names what runs',
      'const leases = [...this.#options.leases.values(), ...outbox.leases()];',
      'const leases = [...outbox.leases()];',
      'desk',
    ],
    [
      'a registration names what is still to be settled',
      '...this.#options.leases.values(), ...outbox.leases()]',
      '...this.#options.leases.values()]',
      'endings',
    ],
    [
      'a registration disclaims what was never used',
      'const disclaimed = outbox.unused();',
      'const disclaimed: readonly string[] = [];',
      'registrar',
    ],
    [
      'many callers share one registration',
      'this.#registering ??= this.#registerAll()',
      'this.#registering = this.#registerAll()',
      'desk',
    ],
    ['who waits asks again after a loss', '    onMoved();\n', '', 'waiting'],
  ]),
  ...ofLeases('registrar', 'T2', [
    [
      'after a loss a lease is claimed before it starts',
      '      lease.extendedAtMs = Number.NEGATIVE_INFINITY;\n',
      '',
      'registrar',
    ],
  ]),
  ...ofLeases('questions', 'W2', [
    [
      'a new epoch is registered before a call asks again',
      '      await registrar.register(verdict.epoch);\n',
      '',
      'desk',
    ],
    ['a Redis that keeps losing its memory is given up', 'epochs < MAX_EPOCHS', 'epochs < 1_000', 'desk'],
  ]),
  ...ofLeases('visits', 'W1', [
    ['a stale call asks again', "if (answer.kind !== 'stale' || visit", 'if (visit', 'desk'],
    ['a stale call does not ask for ever', ' || nowMs >= giveUpAtMs) return pending;', ') return pending;', 'desk'],
  ]),
  ...ofLeases('call-terms', 'W6', [
    [
      'a caller raises no class',
      'return lowerClass(claimed ?? allowed.default, allowed.max);',
      'return claimed ?? allowed.default;',
      'call-terms',
      'fast',
    ],
    [
      'a caller does not change what its pod says',
      '{ ...claimed, ...attributes }',
      '{ ...attributes, ...claimed }',
      'call-terms',
    ],
    [
      'a caller does not lengthen its wait',
      'Math.min(waiting.maxWaitMs, claimedMs ?? waiting.maxWaitMs, LONGEST_WAIT_MS)',
      'claimedMs ?? waiting.maxWaitMs',
      'call-terms',
    ],
  ]),
  ...ofLeases('admissions', 'Q9', [
    [
      'who waits is asked for with a settlement',
      'const parked = successor === null ? room.nextOf(lease.request.leaf) : null;',
      'const parked = null as Parked | null;',
      'turnstile',
    ],
  ]),
  ...ofLeases('retry', 'Q7', [
    ['a call is tried so often', 'state.attempts >= state.policy.maxAttempts || ', '', 'retry'],
    [
      'a call that does not wait is not tried again',
      " || state.mode === 'Reject') return null;",
      ') return null;',
      'retry',
    ],
    ['no try after its time', 'if (delayMs > state.remainingMs) return null;', '', 'retry'],
    [
      'a used-up window is not tried before it opens',
      'return reopens(refusal, state) ? { delayMs, always: false } : null;',
      'return { delayMs, always: false };',
      'retry',
    ],
    ['the pause has a most', 'Math.min(maxDelayMs, baseDelayMs', 'Math.max(0, baseDelayMs', 'retry'],
  ]),
  ...ofLeases('admissions', 'Q7', [
    [
      'a retry nobody answered is given up',
      "        throw new AppError('unavailable', 'Redis did not answer');\n",
      '',
      'again',
    ],
  ]),
];

const away: readonly Mutant[] = [
  ...ofLeases('degrade', 'F4', [
    ['Closed starts nothing', "if (policy.policy === 'Closed' || downForMs", 'if (downForMs', 'degrade', 'fast'],
    [
      'an outage policy has its time',
      " || downForMs >= policy.maxDurationMs) return 'closed';",
      ") return 'closed';",
      'degrade',
    ],
    ['a break of a moment is waited for', "if (downForMs < GRACE_MS) return 'wait';", '', 'degrade'],
    [
      'LocalShare does not guess',
      "if (view.nodes === null) return 'closed';",
      "if (view.nodes === null) return 'start';",
      'degrade',
    ],
    ['what is closed stays closed', 'isOpen(node, view.nowMs) && hasSlot', 'hasSlot', 'degrade'],
    ['a share of the slots', 'hasSlot(node, share, view) && fits', 'fits', 'degrade'],
    ['a share of what is left', ' && fits(node, share, { reserve, view })', '', 'degrade'],
    ['a share is divided by the owners', ' / Math.max(1, owners)) * (percent', ') * (percent', 'degrade'],
    ['a share is a part', ' * (percent / 100) + luck', ' + luck', 'degrade'],
    ['a share below one is one for some', '(percent / 100) + luck', '(percent / 100)', 'degrade'],
    [
      'a window that ended is empty',
      'resetsAtMs !== null && resetsAtMs <= nowMs ? amount :',
      'false ? amount :',
      'degrade',
    ],
  ]),
  ...ofLeases('local-starts', 'F4', [
    [
      'a strict quota starts nothing alone',
      "durability === 'Strict' ? CLOSED : onStoreFailure",
      'onStoreFailure',
      'local-share',
    ],
    [
      'a call started alone has an id of its own',
      'const fresh = { ...request, id: newId() };',
      'const fresh = request;',
      'local-share',
    ],
    [
      'what began since the look is spent',
      'this.#spent = plus(this.#spent, lease.request.reserve);',
      '',
      'local-share',
    ],
  ]),
  ...ofLeases('outbox', 'F4', [
    [
      'what was started alone is made known first',
      'if (unheard.length > 0) await this.#options.introduce(',
      'if (unheard.length < 0) await this.#options.introduce(',
      'local-share',
    ],
    [
      'what was started alone is not forgotten',
      'const twin = oldest.busy ? undefined : later.find(',
      'const twin = oldest.busy ? undefined : [].find(',
      'outbox',
    ],
  ]),
  ...ofLeases('journal', 'F4', [
    [
      'only what Redis never heard of is merged',
      'lease.isLocal && isCharged(settlement)',
      'isCharged(settlement)',
      'outbox',
    ],
    ['only what counts on the same nodes is merged', ' && isAlike(one, other)', '', 'outbox'],
    ['what refunds is not merged', 'lease.isLocal && isCharged(settlement)', 'lease.isLocal', 'outbox'],
  ]),
];

export const SIDECAR_TALK: readonly Mutant[] = [...talk, ...away];
