/** Mutants of the ledger: L1, and of the mark that tells records of one form from those of another. */
import { mutants, type Mutant } from './mutant.ts';

export const LEDGER: readonly Mutant[] = [
  ...mutants('W2', 'ledger', [
    [
      'our records are marked for older code',
      "  if call.fresh then redis.call('HSET', call.keys.meta, 'state', NOT_YOURS) end\n",
      '',
      'deciders',
    ],
  ]),
  ...mutants('L1', 'ledger', [
    ['a call that changes a tree has an entry', '    write_call(call, name, ARGV, reply)\n', '', 'ledger', 'fast'],
    ['a ledger that cannot be written fails no call', "redis.pcall('XADD'", "redis.call('XADD'", 'ledger-budget'],
    [
      'what was not written is counted',
      '  meta.skipped = meta.skipped + 1\n  return false',
      '  return false',
      'ledger-budget',
    ],
    [
      'a full memory is not filled with entries',
      '  elseif has_room(call, may_be_full) then',
      '  elseif true then',
      'ledger-budget',
    ],
    [
      'the entries that are missing are marked',
      'meta.skipped, call.checkpoint = 0, true',
      'meta.skipped = 0',
      'ledger-budget',
    ],
    ['the ledger keeps to its budget', '<= LEDGER_BYTES then return end', '>= 0 then return end', 'ledger-budget'],
    [
      'what a group missed is marked',
      'for _, each in ipairs(unread) do note_trimmed(',
      'for _, each in ipairs({}) do note_trimmed(',
      'ledger-budget',
    ],
    [
      'a group that read everything missed nothing',
      'or unread >= first then return end',
      'then return end',
      'ledger-budget',
    ],
    [
      'a marker tells of all since the group last read',
      'if given_then == given then unread = tonumber(unread_then) end',
      '',
      'ledger-budget',
    ],
    [
      'denials of one second are one entry',
      'local is_denial = answer ==',
      'local is_denial = false and answer ==',
      'ledger',
    ],
    [
      'a denial that changes something has an entry',
      "ARGV[10] == 'R' and changed_nothing(call)",
      "ARGV[10] == 'R'",
      'ledger',
    ],
    ['a denial of a call that was to wait has an entry', " and ARGV[10] == 'R' and", ' and', 'ledger'],
    [
      'denials of the second before come first',
      'if meta.denied_s > 0 and meta.denied_s ~= second_of(meta.wall_us) then flush_denials(call) end',
      '',
      'ledger',
    ],
    ['denials alone are written too', '    if call.meta.denied_s > 0 then flush_denials(call) end\n', '', 'ledger'],
    [
      'a new epoch names the last entry before',
      '  if meta.epoch ~= call.epoch_was then\n',
      '  if false then\n',
      'ledger',
    ],
    [
      'an answer that tells of an epoch has no entry',
      "if answer == 'epoch' then return call.meta.epoch == call.epoch_was end",
      '',
      'ledger',
    ],
    ['a stale caller has no entry', "if answer == 'stale' then return changed_nothing(call) end", '', 'ledger'],
    ['clocks moved without an entry are told', 'meta.unlogged > 0 and clock_before(call) or nil', 'nil', 'ledger'],
    [
      'a beat names its leases if they are not all',
      ' or call.held ~= count then return ARGV end',
      ' then return ARGV end',
      'guards-ledger',
    ],
    ['a lost lease is named in its beat', ' or #reply[6] > 0 or', ' or', 'guards-ledger'],
    [
      'a beat that names one lease twice is told as it was',
      'if seen[ARGV[index]] then return ARGV end',
      '',
      'guards-ledger',
    ],
    [
      'once an hour the whole state is written',
      'if call.checkpoint or ledger.is_due(call) then ledger.checkpoint(call) end',
      'if call.checkpoint then ledger.checkpoint(call) end',
      'guards-ledger',
    ],
    [
      'after what the model cannot follow the whole state is written',
      'if call.checkpoint or ledger.is_due(call) then ledger.checkpoint(call) end',
      'if ledger.is_due(call) then ledger.checkpoint(call) end',
      'ledger',
    ],
  ]),
  ...mutants('L1', 'checkpoint', [
    [
      'of the finished ids the latest are kept',
      "redis.call('ZRANGE', keys.done, 0, STATE_DONE - 1, 'REV', 'WITHSCORES')",
      '{}',
      'guards-ledger',
    ],
  ]),
];
