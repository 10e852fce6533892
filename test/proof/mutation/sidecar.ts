/** Mutants of what the sidecar keeps by itself: when a call may start, how it ends. */
import { ofLeases, type Mutant } from './mutant.ts';

const starts: readonly Mutant[] = [
  ...ofLeases('lease-state', 'T2', [
    ['a strict lease is claimed', 'if (isStrict || sync === null)', 'if (sync === null)', 'strict'],
    ['a lease of another epoch is claimed', "if (lease.epoch !== sync.epoch) return 'claim';", '', 'lease-state'],
    [
      'without an answer for two beats a lease is claimed',
      "if (elapsedMs > 2 * beatIntervalMs(lease.ttlMs)) return 'claim';",
      '',
      'lease-state',
    ],
    [
      'a lease past its local deadline is claimed',
      "untilBeatenMs(beatMs) ? 'claim' : 'go'",
      "untilBeatenMs(beatMs) ? 'go' : 'go'",
      'lease-state',
      'fast',
    ],
    [
      'a lease that ends before its next beat is claimed',
      'localDeadlineMs(lease, sync) - untilBeatenMs(beatMs) ?',
      'localDeadlineMs(lease, sync) ?',
      'lease-state',
    ],
    ['the local deadline has a margin', ' + lease.ttlMs - marginMs(lease.ttlMs)', ' + lease.ttlMs', 'lease-state'],
    [
      'the local deadline counts from the last answer',
      'sync.askedAtMs + (lease.extendedAtMs',
      'lease.answeredAtMs + (lease.extendedAtMs',
      'lease-state',
    ],
    [
      'after a sleep a lease is claimed',
      "if (hasSlept({ monotonicMs: sync.askedAtMs, wallMs: sync.askedWallMs }, now, lease.ttlMs)) return 'claim';",
      '',
      'lease-state',
    ],
    [
      'a claim answered too late is none',
      'elapsedMs < ttlMs - marginMs(ttlMs) - untilBeatenMs(beatIntervalMs(ttlMs)) &&',
      '',
      'lease-state',
    ],
    ['a claim answered after a sleep is none', ' && !hasSlept(asked, now, ttlMs)', '', 'lease-state'],
    [
      'what is lost does not start, and nothing twice',
      "if (lease.lost || lease.sentAtMs !== null) return 'gone';",
      '',
      'lease-state',
    ],
  ]),
  ...ofLeases('lease-state', 'N1', [
    [
      'the send is dated early',
      'since(lease.sentAtMs, lease.answeredAtMs)',
      'since(lease.sentAtMs, lease.askedAtMs)',
      'lease-state',
    ],
    [
      'the first byte is dated late',
      'since(lease.firstByteAtMs, lease.askedAtMs)',
      'since(lease.firstByteAtMs, lease.answeredAtMs)',
      'lease-state',
    ],
  ]),
  ...ofLeases('tree-session', 'T2', [
    [
      'nothing is sent before its claim',
      "while (decision === 'claim') {",
      "while (decision === 'gone') {",
      ['endings', 'strict'],
    ],
    [
      'what Redis refuses does not start',
      '        this.#lose(lease);\n        return false;\n',
      "        decision = 'go';\n",
      'endings',
    ],
    ['a strict claim is confirmed by a replica', '{ confirm: options.isStrict }', '{ confirm: false }', 'strict'],
  ]),
  ...ofLeases('questions', 'T2', [
    [
      'a grant is dated by the server',
      'Math.min(answeredMs, Math.max(call.askedAtMs, notBeforeMs))',
      'answeredMs',
      'waiting',
    ],
  ]),
  ...ofLeases('tree-view', 'T2', [
    [
      'an answer that was overtaken teaches nothing',
      'if (this.sync?.epoch === reply.epoch && asked.monotonicMs < this.sync.askedAtMs) return;',
      '',
      'tree-view',
    ],
  ]),
  ...ofLeases('tree-view', 'W2', [
    [
      'an answer of a lost memory teaches nothing',
      'if (this.epoch !== null && reply.epoch < this.epoch) return;',
      '',
      'tree-view',
    ],
  ]),
  ...ofLeases('held-lease', 'T2', [
    [
      'a lost lease that has not started is cut',
      'if (this.options.lease.sentAtMs === null || this.#isStrict) {',
      'if (this.#isStrict) {',
      'endings',
    ],
    [
      'a strict stream whose lease is lost is cut',
      'sentAtMs === null || this.#isStrict) {',
      'sentAtMs === null) {',
      'strict',
    ],
  ]),
];

const endings: readonly Mutant[] = [
  ...ofLeases('held-lease', 'T5', [
    [
      'what was sent is not cancelled',
      "if (lease.sentAtMs !== null) throw new AppError('conflict', 'the work has started: settle it');",
      '',
      'endings',
    ],
    ['a lease ends once', 'return this.#ended ?? this.#deliver(', 'return this.#deliver(', 'endings'],
  ]),
  ...ofLeases('held-lease', 'T6', [
    ['what our side cuts keeps its slot', "cutByUs && outcome !== 'neverSent' ? ABORT_HOLD_MS : 0", '0', 'endings'],
    ['what never left holds nothing', "cutByUs && outcome !== 'neverSent' ?", 'cutByUs ?', 'endings'],
  ]),
  ...ofLeases('held-lease', 'T4', [
    ['an outcome that refunds carries no use', 'if (!CHARGED.has(outcome)) return NO_AMOUNTS;', '', 'endings'],
    [
      'a call that is given up costs its reserve',
      'const actual = this.#isSending ? lease.request.reserve : NO_AMOUNTS;',
      'const actual = NO_AMOUNTS;',
      'drain',
    ],
  ]),
  ...ofLeases('admissions', 'T5', [
    [
      'who leaves the queue is cancelled',
      'if (call.patience.isOver) void outbox.cancel(call.ask.id, { keepPlace: call.patience.callerLeft });',
      '',
      'waiting',
    ],
    [
      'whose time is over leaves the queue',
      '    void this.#options.outbox.cancel(call.ask.id);\n    return inVain',
      '    return inVain',
      'waiting',
    ],
  ]),
  ...ofLeases('visits', 'T5', [
    ['a grant whose caller left is given back', '        await asking.session.cancel(answer.lease);\n', '', 'desk'],
  ]),
  ...ofLeases('questions', 'T5', [
    [
      'an id that was not answered is cancelled',
      '      void this.#options.outbox.cancel(call.ask.id, { later: true });\n      this.#options.onNews();\n      throw error;',
      '      throw error;',
      'desk',
    ],
  ]),
  ...ofLeases('outbox', 'T4', [
    [
      'what Redis did not answer is told again',
      '      for (const { settlement } of entries) this.#entries.delete(settlement.id);\n      return replies;\n    } catch (error) {',
      '      return replies;\n    } catch (error) {\n      for (const { settlement } of entries) this.#entries.delete(settlement.id);',
      'endings',
      'fast',
    ],
    [
      'what is under way is not told twice',
      '.filter((entry) => !entry.busy).slice(0, BATCH)',
      '.slice(0, BATCH)',
      'endings',
    ],
    [
      'a settlement goes before the cancellation of its id',
      '    await this.#deliverCancels(this.unused(), signal);\n',
      '',
      ['outbox', 'desk'],
    ],
    [
      'one refused settlement keeps back no other',
      "if (code === 'invalid') return await this.#withoutInvalid(entries, signal);",
      '',
      'endings',
    ],
    [
      'what a registration refunded is not told again',
      '    for (const id of ids) this.#cancels.delete(id);\n',
      '',
      'registrar',
    ],
  ]),
  ...ofLeases('outbox', 'F6', [
    ['one call carries so many settlements', '.slice(0, BATCH)', '', 'outbox'],
    ['so many settlements are kept', 'if (this.#entries.size > this.#capacity) this.#makeRoom();', '', 'outbox'],
    [
      'so many cancellations are kept',
      'if (this.#cancels.size > CAPACITY && oldest !== undefined) this.#cancels.delete(oldest);',
      '',
      'outbox',
    ],
  ]),
  ...ofLeases('turnstile', 'F6', [
    ['so many wait for their pod', "if (this.#queue.size >= LONGEST_QUEUE) return { kind: 'full' };", '', 'turnstile'],
    ['the pod keeps to its own limit', 'allowed === null || this.#inside < allowed', 'true', 'turnstile'],
  ]),
  ...ofLeases('runtime-limit', 'F6', [
    ['no call runs longer than it may', '        call.abort(', '        void (', 'endings'],
  ]),
];

export const SIDECAR_CALLS: readonly Mutant[] = [...starts, ...endings];
