/** Mutants of time and leases: T1 to T7. */
import { mutants, type Mutant } from './mutant.ts';

export const TIME: readonly Mutant[] = [
  ...mutants('T1', 'prelude', [
    ['logical time never goes back', 'if behind < 0 then meta.now_us', 'if true then meta.now_us', 'leases', 'fast'],
    ['a clock set back is counted', 'then meta.steps = meta.steps + 1 end', 'then end', 'guards-owners'],
  ]),
  ...mutants('T2', 'claim', [
    ['a claim refuses a lost lease', 'lease and lease.v == 1 and', 'lease and', 'leases', 'fast'],
    ['claim: the fence', ' and lease.f == tonumber(ARGV[2])', '', 'leases'],
    ['a claim extends', '    extend(call, ARGV[1])\n', '', 'guards-time'],
    ['a claimed lease is known as sent', '    lease.q = 1\n', '', 'leases'],
    ['a claim ends the state not sent', 'note_sent(call, lease)', '', 'guards-time'],
  ]),
  ...mutants('T2', 'leases', [
    ['a call counts as sent once', 'if lease.d ~= 1 then return end', '', 'guards-owners'],
    [
      'a grant is not sent before its claim or beat',
      'lease.h == 1 or lease.d == 1\n',
      'lease.h == 1\n',
      'guards-owners',
    ],
  ]),
  ...mutants('T2', 'beat', [['a beat ends the state not sent', '    note_sent(call, lease)\n', '', 'guards-time']]),
  ...mutants('T2', 'dispatch', [
    [
      'a handed-off grant must be claimed soon',
      'int(meta.now_ms + (how.dispatched and CLAIM_TTL_MS or TTL_MS))',
      'int(meta.now_ms + TTL_MS)',
      'guards-time',
    ],
  ]),
  ...mutants('T3', 'prelude', [
    [
      'after a gap nobody is reaped at once',
      'if not fresh and meta.now_ms - last_ms > SILENT_MS',
      'if false',
      'leases',
    ],
  ]),
  ...mutants('T3', 'leases', [
    ['who had expired before the gap is reaped', 'math.min(until_ms, meta.gap_from)', '0', 'guards-time'],
    ['silence of most is no death', ' or many_owners_silent(call)', '', 'leases'],
    [
      'silence of most is believed after a lifetime',
      'if meta.now_ms < meta.mass_from + 2 * TTL_MS then return false end',
      '',
      'leases',
    ],
    ['one silent owner is no mass', 'silent < 2 or ', '', 'leases'],
    ['half of the owners is not most', 'silent * 2 <= total', 'silent * 2 < total', 'guards-time'],
    [
      'a mass that fell silent has its lifetime',
      'if meta.now_ms < meta.mass_from + TTL_MS then return true end',
      '',
      'leases',
    ],
    ['an ending is no sign of life', 'if change >= 0 then seen', 'if true then seen', 'guards-owners'],
    [
      'an owner without leases is nobody',
      "  elseif packed then\n    redis.call('HDEL'",
      "  elseif false then\n    redis.call('HDEL'",
      'guards-owners',
    ],
  ]),
  ...mutants('T3', 'dispatch', [
    [
      'after a gap no waiter is let go at once',
      'elseif meta.now_ms < meta.no_reap_until then',
      'elseif false then',
      'guards-time',
    ],
  ]),
  ...mutants('T4', 'leases', [
    ['an expired lease settles late', 'if lease.x == 1 then\n', 'if false then\n', 'leases'],
    ['expiry charges the reserve', 'reserved[charge.q] = charge.R', 'reserved[charge.q] = 0', 'leases', 'fast'],
    ['a reserve lands once', '    lease.x = 1\n', '', 'leases'],
    [
      'a revived call that expires again lands no reserve',
      '  if lease.x == 0 then\n',
      '  if true then\n',
      'guards-owners',
    ],
    ['a late settlement frees no slot twice', 'if lease.v == 0 then return end\n', '', 'guards-owners'],
    [
      'an id is free again when nobody may settle it',
      ' and tonumber(until_ms) > call.meta.now_ms',
      '',
      'guards-owners',
    ],
    [
      'a late settlement has an end',
      ' or lease.v == 0 and call.meta.now_ms >= lease.g + lease.m + LATE_MS',
      '',
      ['leases', 'guards-time'],
    ],
    ['records too old for a settlement go', 'if #old > 0 then', 'if false then', 'guards-time'],
    [
      'an id that is granted again is kept',
      "  redis.call('ZREM', call.keys.late, id)\n  write_lease",
      '  write_lease',
      'guards-time',
    ],
    ['finished ids go', 'if #finished > 0 then', 'if false then', 'guards-time'],
  ]),
  ...mutants('T4', 'cancel', [
    [
      'a claimed lease that expired keeps its charge',
      'if lease.v == 0 and lease.q == 1 then return false end',
      '',
      'leases',
    ],
    ['somebody else cannot disclaim a lease', 'if owner and lease.o ~= owner then return false end', '', 'leases'],
    [
      'somebody else cannot disclaim a waiter',
      'if owner and waiter.owner ~= owner then return false end',
      '',
      'guards-time',
    ],
  ]),
  ...mutants('T4', 'anchored', [
    [
      'a late settlement of a window that ended',
      'elseif period.s > charge.b and not ending.refund then',
      'elseif false then',
      'windows',
    ],
    [
      'a late settlement opens a window',
      'if anchored and not window.c and not ending.refund then',
      'if false then',
      'windows',
    ],
  ]),
  ...mutants('T5', 'cancel', [
    ['a cancelled id is never granted', '  bury(call, id)\n', '', 'deciders'],
    ['a cancelled waiter leaves', '    queue.leave(call, id, waiter)\n', '', 'queue'],
    ['the place of who comes back is kept', 'if keep then keep_place(call, waiter) end', '', 'queue'],
  ]),
  ...mutants('T5', 'acquire', [
    ['a kept place is found', 'round, seq = kept_place(call, request)', 'round, seq = nil, nil', 'queue'],
    [
      'a kept place ends',
      ' or until_ms <= call.meta.now_ms then return nil end\n  redis',
      ' then return nil end\n  redis',
      'guards-time',
    ],
    ['a kept place is one of the same sub-queue', 'sub ~= request.sub or ', '', 'guards-time'],
    [
      'a kept place is taken once',
      "  redis.call('HDEL', call.keys.waiters, field)\n  redis.call('ZREM', call.keys.patience, field)\n  return round",
      '  return round',
      'guards-time',
    ],
  ]),
  ...mutants('T6', 'leases', [
    ['an aborted call keeps its slot', 'if lease.v == 1 and (hold_ms or 0) > 0 then', 'if false then', 'nodes'],
    ['a hold ends', 'for _, name in ipairs(due) do end_hold(call, name) end', '', 'nodes'],
    ['held slots are not sent calls', 'record.z = record.z + 1', 'record.z = record.z', 'nodes'],
  ]),
  ...mutants('T6', 'swap', [
    [
      'a refused call that comes again keeps its slot',
      'if lease.v == 1 and hold_ms > 0 then',
      'if false then',
      'guards-time',
    ],
  ]),
  ...mutants('T6', 'settle', [
    ['the learnt hold is kept at every end', 'math.max(hold_ms, call.meta.hold_ms)', 'hold_ms', 'guards-time'],
    [
      'what was never sent is not held',
      "if outcome ~= 'neverSent' then hold_ms",
      'if true then hold_ms',
      'guards-time',
    ],
    ['a learnt hold fades', 'decay_hold(call.meta)', '', 'guards-time'],
  ]),
  ...mutants('T6', 'nodes', [
    [
      'a refusal after a hand-off blames the hold first',
      'if limit >= 0 and blame_hold(',
      'if false and blame_hold(',
      'nodes',
    ],
    [
      'soon after it the hold grows only where the limit can be no lower',
      'if first or limit <= least',
      'if true or limit <= least',
      'guards-time',
    ],
    ['soon after it the limit is blamed', '  return first\n', '  return true\n', 'nodes'],
    ['only a hand-off blames the hold', 'lease.d == 0 or ', '', 'nodes'],
    ['only soon after it', 'ending.sent_after > 500 or ', '', 'guards-time'],
    ['not above the limit', ' or record.i > limit then return false end', ' then return false end', 'guards-time'],
  ]),
  ...mutants('T6', 'govern', [
    ['the slots of a reclaimed call are held', 'expire(call, id, ZOMBIE_HOLD_MS)', 'expire(call, id)', 'nodes'],
    ['a process is not reclaimed with its predecessors', ' and owner ~= except', '', 'guards-owners'],
  ]),
  ...mutants('T7', 'prelude', [
    ['another server begins the learning', '      begin_learning(meta)\n', '', 'nodes'],
    ['a caller ahead of us begins the learning', 'begin_learning(call.meta)', '', 'guards.test'],
  ]),
  ...mutants('T7', 'leases', [
    [
      'nothing is granted while an owner is missing',
      'if epoch ~= call.meta.epoch then call.missing = true end',
      '',
      'guards-owners',
    ],
    ['learning has an end', 'if meta.now_ms >= meta.learn_until then return nil end', '', 'nodes'],
    ['after a total loss it lasts to its end', 'meta.learn_all == 1 or ', '', 'guards-bounds'],
    ['who registered is not missing', 'if registered or not packed then', 'if not packed then', 'nodes'],
    [
      'who is granted something first is not missing',
      'if registered or not packed then',
      'if registered then',
      'guards-owners',
    ],
    ['learning takes its least time', 'return meta.now_ms < least and least or nil', 'return nil', 'nodes'],
  ]),
  ...mutants('T7', 'register', [
    ['a registration is noted', 'note_owner(call, owner, 0, true)', '', 'nodes'],
    ['a registration extends', '    extend(call, id)\n  elseif', '  elseif', 'leases'],
    [
      'a call that runs on holds its slots again',
      'if lease.v == 0 then return revive(call, id, lease) end',
      '',
      'guards-time',
    ],
    [
      'a call that comes back ends its zombie hold',
      "  end_hold(call, id .. '\\0' .. int(lease.f))\n",
      '',
      'guards-time',
    ],
    [
      'a lost lease is put back',
      '    put_back(call, id, owner, fence, sent, read_request(ARGV, first + 3))\n',
      '',
      'deciders',
    ],
    ['what runs already takes no rate', '{ force = true, id = id }', '{ id = id }', 'guards-time'],
    ['a call whose leaf is gone is counted on the account', "    request.leaf = 'account'\n", '', 'guards-owners'],
    [
      'a call that is put back has no higher class',
      'request.class = math.max(request.class, path.class)',
      '',
      'guards-owners',
    ],
    ['its fence is not given again', 'math.max(meta.fence, fence) + 1', 'meta.fence + 1', 'guards-owners'],
    ['what an owner never used is given back', 'take_back(call, ARGV[index], owner, false)', '', 'leases'],
  ]),
  ...mutants('T7', 'configure', [
    ['a lost memory is learnt anew', 'if (lost or call.outdated) and call.fresh then', 'if false then', 'nodes'],
    [
      'a memory that is there is not',
      ' and call.fresh then\n    call.meta.learn_until',
      ' then\n    call.meta.learn_until',
      'guards-owners',
    ],
    ['a tree of the first release is learnt anew', '(lost or call.outdated) and', 'lost and', 'deciders'],
  ]),
];
