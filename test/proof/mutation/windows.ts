/** Mutants of windows, rates and what nodes learn: N1 to N6, M1, Q7's adaptive part. */
import { mutants, type Mutant } from './mutant.ts';

export const WINDOWS: readonly Mutant[] = [
  ...mutants('N1', 'anchored', [
    [
      'near a boundary both windows are charged',
      'if current.k > 0 and not window.n and',
      'if false and',
      'windows',
      'fast',
    ],
    ['a window ends a guard late', 'return period.hi + duration + GUARD_MS', 'return period.hi + duration', 'windows'],
    [
      'an unsure window ends a guard late',
      'return period.sf + duration + GUARD_MS',
      'return period.sf + duration',
      'windows',
    ],
    [
      'it does not end while an opener may live',
      'if period.p == 0 and period.sf then',
      'if period.sf then',
      'guards-windows',
    ],
    ['a window of refunds only is not open', 'if current.k == 0 then', 'if false then', 'windows'],
    [
      'live leases run on into the next period',
      'period.r, period.k, period.v, period.p = current.r, current.v, current.v, current.v',
      'period.r, period.k, period.v, period.p = 0, 0, 0, 0',
      'windows',
    ],
  ]),
  ...mutants('N1', 'settle', [
    ['a call without a response fixes no start', 'row[3] and first_after >= 0', 'row[3]', 'windows'],
    ['a call that was put back fixes no start', ' and lease.s == lease.f', '', 'guards-windows'],
    ['no answer comes before its call', 'math.max(first_after, sent_after)', 'first_after', 'guards-windows'],
    ['a refusal refunds', 'refusedRate = { true,', 'refusedRate = { false,', 'windows'],
    [
      'a sent call keeps its rate token',
      'refusedConcurrency = { true, false,',
      'refusedConcurrency = { true, true,',
      'windows',
    ],
  ]),
  ...mutants('N2', 'meters', [
    [
      'a calendar does not go back',
      'if starts > window.s then begin_period',
      'if starts ~= window.s then begin_period',
      'windows',
    ],
    [
      'a period changes at its boundary',
      'if wall < window.e and not endless then return end',
      'do return end',
      'windows',
    ],
    [
      'a period of the last boundary has no end',
      'ends = low < count and at(low + 1) or MAX_AMOUNT',
      'ends = low < count and at(low + 1) or wall + 1',
      'windows',
    ],
  ]),
  ...mutants('N2', 'meters', [
    [
      'a correction of an old period lowers no new one',
      'if window.s == place then window.u',
      'if true then window.u',
      'guards-windows',
    ],
    [
      'what is measured is reserved while the call runs',
      'else window.r = window.r + charge.R end',
      'end',
      ['windows', 'guards.test'],
    ],
    [
      'a bucket does not leave early',
      '(buckets[gone + 1] + 1) * window.w <= now',
      'buckets[gone + 1] * window.w <= now',
      'windows',
    ],
  ]),
  ...mutants('N3', 'anchored', [
    ['a guarantee is kept free in a period', 'kept_free and kept_free(period) or 0', '0', 'nodes'],
    ['a guarantee is kept free before the window opens', 'kept_free and kept_free(nil) or 0', '0', 'guards-windows'],
  ]),
  ...mutants('N3', 'meters', [
    [
      'a guarantee is kept free in a calendar or fixed window',
      'kept_free and kept_free(window) or 0',
      '0',
      'guards-windows',
    ],
  ]),
  ...mutants('N3', 'guarantees', [
    ['an owner may use its own guarantee', 'mine = math.max(0,', 'mine = 0 * math.max(0,', 'nodes'],
    ['a metered claim follows its guarantor', 'guarantor.cl = guarantor.cl + claimed - before', '', 'guards-windows'],
    ['an anchored claim follows its guarantor', 'if at then at.cl = at.cl + claimed - share.gc end', '', 'nodes'],
  ]),
  ...mutants('N3', 'leases', [
    [
      'a grant claims its guarantee',
      'for _, entry in ipairs(taken) do sync_guarantees(call, entry[1]) end',
      '',
      'nodes',
    ],
    [
      'an end claims its guarantee',
      '  for _, entry in ipairs(lease.n) do sync_guarantees(call, entry[1]) end\n  if lease.v == 0',
      '  if lease.v == 0',
      'guards-windows',
    ],
    [
      'an expiry claims its guarantee',
      '    for _, entry in ipairs(lease.n) do sync_guarantees(call, entry[1]) end\n    learn',
      '    learn',
      'guards-windows',
    ],
  ]),
  ...mutants('N3', 'configure', [
    ['promises are recounted by configure', '  recount_guarantees(call, nodes, order)\n', '', 'guards-windows'],
  ]),
  ...mutants('N3', 'govern', [
    ['a reset claims its guarantee anew', '      sync_guarantees(call, ARGV[2])\n', '', 'guards-windows'],
  ]),
  ...mutants('N4', 'configure', [
    [
      'a changed rate scales the wait',
      'record.tat = now_us + math.ceil((record.tat - now_us) / record.rt * interval)',
      '',
      'reconfigured',
    ],
    [
      'an adaptive limit keeps to new bounds',
      'a.c = clamp(a.c, config[NODE_MIN], config[NODE_CONCURRENCY])',
      '',
      'guards-windows',
    ],
  ]),
  ...mutants('N4', 'charges', [
    ['the rate has its burst', 'record.tat or 0) - (burst - 1) * interval', 'record.tat or 0)', 'guards-windows'],
    [
      'a rate token is taken',
      'math.max(record.tat or 0, now_us) + interval',
      'math.max(record.tat or 0, now_us)',
      'leases',
    ],
    [
      'a refunded token is not given twice',
      'math.max(record.tat - record.rt, floor)',
      'record.tat - record.rt',
      'windows',
    ],
  ]),
  ...mutants('N5', 'calibrate', [
    ['two polls must agree', 'math.abs(last_resets - resets) <= SAME_RESET_MS and ', '', 'guards-windows'],
    ['the same poll twice does not agree', ' and poll_start > last_poll, last_poll', ', last_poll', 'guards-windows'],
    ['a display lowers nothing', 'saturate(math.max(period.u, used))', 'saturate(used)', 'calibrate', 'fast'],
    ['a reset in the past means poll again', 'if resets <= wall then', 'if false then', 'calibrate'],
    ['a freeze begun after the polls stays', ' or first_poll < a.fs', '', 'guards-windows'],
    ['two polls end a freeze', "touch(call, 'account').a.fz = 0", '', 'calibrate'],
  ]),
  ...mutants('N6', 'check', [
    ['an observed node refuses nothing', 'if config[NODE_OBSERVE] == 0 then', 'if true then', 'nodes'],
    [
      'a stop of an observed node holds',
      '  check_closed(call, name, config, record, request, found)\n  if',
      '  if config[NODE_OBSERVE] == 0 then check_closed(call, name, config, record, request, found) end\n  if',
      'guards-windows',
    ],
    ['a freeze holds', 'if a.fz and wall < a.fz then', 'if false then', 'nodes'],
    ['a pause holds', 'if a.pz and now < a.pz then', 'if false then', 'nodes'],
    ['an open breaker holds', "(now < a.bo or a.bp ~= '') then", "a.bp ~= '' then", 'nodes'],
    ['a call above what one call may reserve is refused', 'if asked > most[2] then', 'if false then', 'nodes'],
    ['a half-open breaker lets one through', "(now < a.bo or a.bp ~= '') then", 'now < a.bo then', 'nodes'],
    ['a stop excepts its classes only', ' and not stop[4][class]', '', 'nodes'],
  ]),
  ...mutants('N6', 'leases', [
    ['an observed rate does not pile up', 'if config[NODE_OBSERVE] == 1 then', 'if false then', 'guards-windows'],
  ]),
  ...mutants('Q7', 'nodes', [
    [
      'a refusal from before the last decrease',
      'if a and lease.g + ending.sent_after >= a.de then',
      'if a then',
      'nodes',
    ],
    [
      'only sent calls count for a decrease',
      'local sent = record.i - record.z',
      'local sent = record.i',
      'guards-time',
    ],
    ['a refused probe changes no limit', 'if not ending.was_probe then', 'if true then', 'nodes'],
  ]),
  ...mutants('M1', 'nodes', [
    ['refusals of one model do not shrink the account', 'account.lm ~= model_node and ', '', 'guards-windows'],
    ['nor do refusals far apart', ' and now - account.la <= 2000', '', 'guards-windows'],
  ]),
];
