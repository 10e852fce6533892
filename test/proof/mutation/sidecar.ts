/** Mutants of what the sidecar keeps by itself: when a call may start, what it owes Redis, what it does without it. */
import { mutantsOf, type Mutant, type Row } from './mutant.ts';

/** Of a file of the leases; `red` names unit tests of them. */
function of(file: string, rule: string, rows: readonly Row[]): readonly Mutant[] {
  const unit = rows.map(([guard, find, put, red, fast]): Row => [guard, find, put, [red].flat().map(test), fast]);
  return mutantsOf(`sidecar/leases/${file}.ts`, rule, unit);
}

const test = (name: string): string => `test/unit/leases/${name}`;

const starts: readonly Mutant[] = [
  ...of('lease-state', 'T2', [
    ['a strict lease is claimed', 'if (isStrict || sync === null)', 'if (sync === null)', 'strict', 'fast'],
    ['a lease of another epoch is claimed', "if (lease.epoch !== sync.epoch) return 'claim';", '', 'lease-state'],
    [
      'without an answer for two beats a lease is claimed',
      "if (elapsedMs > 2 * beatIntervalMs(lease.ttlMs)) return 'claim';",
      '',
      'lease-state',
    ],
    ['a lease past its local deadline is claimed', "untilBeatenMs(beatMs) ? 'claim' : 'go'", "untilBeatenMs(beatMs) ? 'go' : 'go'", 'lease-state', 'fast'],
    ['a lease that ends before its next beat is claimed', 'localDeadlineMs(lease, sync) - untilBeatenMs(beatMs) ?', 'localDeadlineMs(lease, sync) ?', 'lease-state'],
    ['the local deadline has a margin', ' + lease.ttlMs - marginMs(lease.ttlMs)', ' + lease.ttlMs', 'lease-state'],
    ['the local deadline counts from the last answer', 'sync.askedAtMs + (lease.extendedAtMs', 'lease.answeredAtMs + (lease.extendedAtMs', 'lease-state'],
    [
      'after a sleep a lease is claimed',
      "if (hasSlept({ monotonicMs: sync.askedAtMs, wallMs: sync.askedWallMs }, now, lease.ttlMs)) return 'claim';",
      '',
      'lease-state',
    ],
    ['a claim answered too late is none', 'elapsedMs < ttlMs - marginMs(ttlMs) - untilBeatenMs(beatIntervalMs(ttlMs)) &&', '', 'lease-state'],
    ['a claim answered after a sleep is none', ' && !hasSlept(asked, now, ttlMs)', '', 'lease-state'],
    ['what is lost does not start, and nothing twice', "if (lease.lost || lease.sentAtMs !== null) return 'gone';", '', 'lease-state'],
  ]),
  ...of('lease-state', 'N1', [
    ['the send is dated early', 'since(lease.sentAtMs, lease.answeredAtMs)', 'since(lease.sentAtMs, lease.askedAtMs)', 'lease-state'],
    ['the first byte is dated late', 'since(lease.firstByteAtMs, lease.askedAtMs)', 'since(lease.firstByteAtMs, lease.answeredAtMs)', 'lease-state'],
  ]),
  ...of('tree-session', 'T2', [
    ['nothing is sent before its claim', "while (decision === 'claim') {", "while (decision === 'gone') {", ['endings', 'strict']],
    ['what Redis refuses does not start', '        this.#lose(lease);\n        return false;\n', "        decision = 'go';\n", 'endings'],
    ['a strict claim is confirmed by a replica', '{ confirm: options.isStrict }', '{ confirm: false }', 'strict'],
  ]),
  ...of('questions', 'T2', [
    ['a grant is dated by the server', 'Math.min(answeredMs, Math.max(call.askedAtMs, notBeforeMs))', 'answeredMs', 'waiting'],
  ]),
  ...of('tree-view', 'T2', [
    ['an answer that was overtaken teaches nothing', 'if (this.sync?.epoch === reply.epoch && asked.monotonicMs < this.sync.askedAtMs) return;', '', 'tree-view'],
  ]),
  ...of('tree-view', 'W2', [
    ['an answer of a lost memory teaches nothing', 'if (this.epoch !== null && reply.epoch < this.epoch) return;', '', 'tree-view'],
  ]),
  ...of('held-lease', 'T2', [
    ['a lost lease that has not started is cut', 'if (this.options.lease.sentAtMs === null || this.#isStrict) {', 'if (this.#isStrict) {', 'endings'],
    ['a strict stream whose lease is lost is cut', 'sentAtMs === null || this.#isStrict) {', 'sentAtMs === null) {', 'strict'],
  ]),
];

const endings: readonly Mutant[] = [
  ...of('held-lease', 'T5', [
    ['what was sent is not cancelled', "if (lease.sentAtMs !== null) throw new AppError('conflict', 'the work has started: settle it');", '', 'endings'],
    ['a lease ends once', 'return this.#ended ?? this.#deliver(', 'return this.#deliver(', 'endings'],
  ]),
  ...of('held-lease', 'T6', [
    ['what our side cuts keeps its slot', "cutByUs && outcome !== 'neverSent' ? ABORT_HOLD_MS : 0", '0', 'endings', 'fast'],
    ['what never left holds nothing', "cutByUs && outcome !== 'neverSent' ?", 'cutByUs ?', 'endings'],
  ]),
  ...of('held-lease', 'T4', [
    ['an outcome that refunds carries no use', 'if (!CHARGED.has(outcome)) return NO_AMOUNTS;', '', 'endings'],
    ['a call that is given up costs its reserve', 'const actual = this.#isSending ? lease.request.reserve : NO_AMOUNTS;', 'const actual = NO_AMOUNTS;', 'drain'],
  ]),
  ...of('admissions', 'T5', [
    ['who leaves the queue is cancelled', 'if (call.patience.isOver) void outbox.cancel(call.ask.id, { keepPlace: call.patience.callerLeft });', '', 'waiting'],
    ['whose time is over leaves the queue', '    void this.#options.outbox.cancel(call.ask.id);\n    return inVain', '    return inVain', 'waiting'],
  ]),
  ...of('visits', 'T5', [
    ['a grant whose caller left is given back', '        await asking.session.cancel(answer.lease);\n', '', 'desk'],
  ]),
  ...of('questions', 'T5', [
    [
      'an id that was not answered is cancelled',
      '      void this.#options.outbox.cancel(call.ask.id, { later: true });\n      this.#options.onNews();\n      throw error;',
      '      throw error;',
      'desk',
    ],
  ]),
  ...of('outbox', 'T4', [
    ['what Redis did not answer is told again', '      for (const { settlement } of entries) this.#entries.delete(settlement.id);\n      return replies;\n    } catch (error) {', '      return replies;\n    } catch (error) {\n      for (const { settlement } of entries) this.#entries.delete(settlement.id);', 'endings', 'fast'],
    ['what is under way is not told twice', '.filter((entry) => !entry.busy).slice(0, BATCH)', '.slice(0, BATCH)', 'endings'],
    ['a settlement goes before the cancellation of its id', '    await this.#deliverCancels(this.unused(), signal);\n', '', ['outbox', 'desk']],
    ['one refused settlement keeps back no other', "if (code === 'invalid') return await this.#withoutInvalid(entries, signal);", '', 'endings'],
    ['what a registration refunded is not told again', '    for (const id of ids) this.#cancels.delete(id);\n', '', 'registrar'],
  ]),
  ...of('outbox', 'F6', [
    ['one call carries so many settlements', '.slice(0, BATCH)', '', 'outbox'],
    ['so many settlements are kept', 'if (this.#entries.size > this.#capacity) this.#makeRoom();', '', 'outbox'],
    ['so many cancellations are kept', 'if (this.#cancels.size > CAPACITY && oldest !== undefined) this.#cancels.delete(oldest);', '', 'outbox'],
  ]),
  ...of('turnstile', 'F6', [
    ['so many wait for their pod', "if (this.#queue.size >= LONGEST_QUEUE) return { kind: 'full' };", '', 'turnstile'],
    ['the pod keeps to its own limit', 'allowed === null || this.#inside < allowed', 'true', 'turnstile'],
  ]),
  ...of('runtime-limit', 'F6', [
    ['no call runs longer than it may', '        call.abort(', '        void (', 'endings'],
  ]),
];

const talk: readonly Mutant[] = [
  ...of('pulse', 'T3', [
    ['a beat without an answer is given up', "{ ms: BEAT_TIMEOUT_MS, what: 'a beat', signal }", "{ ms: 600_000, what: 'a beat', signal }", 'endings'],
    ['it is tried again on a fresh connection', '      await this.#reconnect(signal, error);\n      await this.#beatOnce(signal);', '      throw error;', 'endings'],
    ['an answer that refuses costs no connection', 'if (isAnswer(reason)) throw reason;', '', 'endings'],
    ['what runs though it is lost is put back', 'await registrar.putBack(running.filter(', 'void (running.filter(', 'endings'],
  ]),
  ...of('registrar', 'T7', [
    ['a registration names what runs', 'const leases = [...this.#options.leases.values(), ...outbox.leases()];', 'const leases = [...outbox.leases()];', 'desk'],
    ['a registration names what is still to be settled', '...this.#options.leases.values(), ...outbox.leases()]', '...this.#options.leases.values()]', 'endings'],
    ['a registration disclaims what was never used', 'const disclaimed = outbox.unused();', 'const disclaimed: readonly string[] = [];', 'registrar'],
    ['many callers share one registration', 'this.#registering ??= this.#registerAll()', 'this.#registering = this.#registerAll()', 'desk'],
    ['who waits asks again after a loss', '    onMoved();\n', '', 'waiting'],
  ]),
  ...of('registrar', 'T2', [
    ['after a loss a lease is claimed before it starts', '      lease.extendedAtMs = Number.NEGATIVE_INFINITY;\n', '', 'registrar'],
  ]),
  ...of('questions', 'W2', [
    ['a new epoch is registered before a call asks again', '      await registrar.register(verdict.epoch);\n', '', 'desk'],
    ['a Redis that keeps losing its memory is given up', 'epochs < MAX_EPOCHS', 'epochs < 1_000', 'desk'],
  ]),
  ...of('visits', 'W1', [
    ['a stale call asks again', "if (answer.kind !== 'stale' || visit", "if (visit", 'desk'],
    ['a stale call does not ask for ever', ' || nowMs >= giveUpAtMs) return pending;', ') return pending;', 'desk'],
  ]),
  ...of('call-terms', 'W6', [
    ['a caller raises no class', 'return lowerClass(claimed ?? allowed.default, allowed.max);', 'return claimed ?? allowed.default;', 'call-terms', 'fast'],
    ['a caller does not change what its pod says', '{ ...claimed, ...attributes }', '{ ...attributes, ...claimed }', 'call-terms'],
    ['a caller does not lengthen its wait', 'Math.min(waiting.maxWaitMs, claimedMs ?? waiting.maxWaitMs, LONGEST_WAIT_MS)', 'claimedMs ?? waiting.maxWaitMs', 'call-terms'],
  ]),
  ...of('admissions', 'Q9', [
    ['who waits is asked for with a settlement', 'const parked = successor === null ? room.nextOf(lease.request.leaf) : null;', 'const parked = null as Parked | null;', 'turnstile'],
  ]),
  ...of('retry', 'Q7', [
    ['a call is tried so often', 'state.attempts >= state.policy.maxAttempts || ', '', 'retry'],
    ['a call that does not wait is not tried again', " || state.mode === 'Reject') return null;", ') return null;', 'retry'],
    ['no try after its time', 'if (delayMs > state.remainingMs) return null;', '', 'retry'],
    ['a used-up window is not tried before it opens', 'return reopens(refusal, state) ? { delayMs, always: false } : null;', 'return { delayMs, always: false };', 'retry'],
    ['the pause has a most', 'Math.min(maxDelayMs, baseDelayMs', 'Math.max(0, baseDelayMs', 'retry'],
  ]),
  ...of('admissions', 'Q7', [
    ['a retry nobody answered is given up', "        throw new AppError('unavailable', 'Redis did not answer');\n", '', 'again'],
  ]),
];

const away: readonly Mutant[] = [
  ...of('degrade', 'F4', [
    ['Closed starts nothing', "if (policy.policy === 'Closed' || downForMs", 'if (downForMs', 'degrade', 'fast'],
    ['an outage policy has its time', " || downForMs >= policy.maxDurationMs) return 'closed';", ") return 'closed';", 'degrade'],
    ['a break of a moment is waited for', "if (downForMs < GRACE_MS) return 'wait';", '', 'degrade'],
    ['LocalShare does not guess', "if (view.nodes === null) return 'closed';", "if (view.nodes === null) return 'start';", 'degrade'],
    ['what is closed stays closed', 'isOpen(node, view.nowMs) && hasSlot', 'hasSlot', 'degrade'],
    ['a share of the slots', 'hasSlot(node, share, view) && fits', 'fits', 'degrade'],
    ['a share of what is left', ' && fits(node, share, { reserve, view })', '', 'degrade'],
    ['a share is divided by the owners', ' / Math.max(1, owners)) * (percent', ') * (percent', 'degrade'],
    ['a share is a part', ' * (percent / 100) + luck', ' + luck', 'degrade'],
    ['a share below one is one for some', '(percent / 100) + luck', '(percent / 100)', 'degrade'],
    ['a window that ended is empty', 'resetsAtMs !== null && resetsAtMs <= nowMs ? amount :', 'false ? amount :', 'degrade'],
  ]),
  ...of('local-starts', 'F4', [
    ['a strict quota starts nothing alone', "durability === 'Strict' ? CLOSED : onStoreFailure", 'onStoreFailure', 'local-share'],
    ['a call started alone has an id of its own', 'const fresh = { ...request, id: newId() };', 'const fresh = request;', 'local-share'],
    ['what began since the look is spent', 'this.#spent = plus(this.#spent, lease.request.reserve);', '', 'local-share'],
  ]),
  ...of('outbox', 'F4', [
    ['what was started alone is made known first', 'if (unheard.length > 0) await this.#options.introduce(', 'if (unheard.length < 0) await this.#options.introduce(', 'local-share'],
    ['what was started alone is not forgotten', 'const twin = oldest.busy ? undefined : later.find(', 'const twin = oldest.busy ? undefined : [].find(', 'outbox'],
  ]),
  ...of('journal', 'F4', [
    ['only what Redis never heard of is merged', 'lease.isLocal && isCharged(settlement)', 'isCharged(settlement)', 'outbox'],
    ['only what counts on the same nodes is merged', ' && isAlike(one, other)', '', 'outbox'],
    ['what refunds is not merged', 'lease.isLocal && isCharged(settlement)', 'lease.isLocal', 'outbox'],
  ]),
];

export const SIDECAR: readonly Mutant[] = [...starts, ...endings, ...talk, ...away];
