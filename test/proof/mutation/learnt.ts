/** Mutants of what nodes learn from the vendor's answers: adaptive limits, holds, pauses, breaker, freeze. */
import { mutants, type Mutant } from './mutant.ts';

export const LEARNT: readonly Mutant[] = [
  ...mutants('Q7', 'nodes', [
    [
      'a limit starts where it is told',
      'clamp(config[NODE_START], config[NODE_MIN]',
      'clamp(config[NODE_CONCURRENCY], config[NODE_MIN]',
      'nodes',
    ],
    ['an accepted probe raises the limit', 'math.min(config[NODE_CONCURRENCY], a.c + 1), -1', 'a.c, -1', 'nodes'],
    [
      'a probe without an answer raises nothing',
      "(outcome == 'completed' or outcome == 'brokeMidStream') and answered then",
      "(outcome == 'completed' or outcome == 'brokeMidStream') then",
      'guards-learnt',
    ],
    ['after a refused probe the pause doubles', 'a.P = math.min(2 * a.P, MAX_PROBE_MS)', '', 'nodes'],
    ['the pause before a probe has a most', 'math.min(2 * a.P, MAX_PROBE_MS)', '2 * a.P', 'guards-learnt'],
    ['a refusal shrinks below what was sent', 'math.min(a.c, sent - 1)', 'a.c', 'nodes'],
    [
      'a limit does not shrink below its least',
      'math.max(config[NODE_MIN], math.min(a.c, sent - 1))',
      'sent - 1',
      'guards-learnt',
    ],
    ['an hour of the day is remembered', '  a.ce[hour_of(call) + 1] = a.c\n', '', 'nodes'],
    ['an hour that once allowed more is climbed fast', '      a.P = FAST_PROBE_MS\n', '', 'guards-learnt'],
    ['one probe at a time', "if a.pr == '' then a.pr = how.id end", 'a.pr = how.id', 'guards-learnt'],
    ['what was not full is not saturated', '      a.sat = -1\n    end\n  end\n', '    end\n  end\n', 'guards-learnt'],
  ]),
  ...mutants('Q7', 'check', [
    [
      'a saturated limit is probed',
      'if may_grow and record.i == a.c and a.sat >= 0 and now - math.max(a.sat, a.ch) >= a.P then return end',
      '',
      'nodes',
    ],
    ['only after its pause', ' and now - math.max(a.sat, a.ch) >= a.P then return end', ' then return end', 'nodes'],
    ['only with no other probe under way', "local may_grow = a.pr == '' and", 'local may_grow =', 'guards-learnt'],
    ['a limit at its most is not probed', ' and a.c < config[NODE_CONCURRENCY]\n', '\n', 'guards-learnt'],
  ]),
  ...mutants('Q6', 'check', [
    [
      'wake: the time of a probe',
      'failing.timer = math.max(a.sat, a.ch) + a.P',
      'failing.timer = nil',
      'guards-learnt',
    ],
    [
      'who waits for a shared window is looked at again',
      'failing.timer = call.meta.now_ms + GUARD_MS',
      'failing.timer = nil',
      'guards-learnt',
    ],
  ]),
  ...mutants('T6', 'nodes', [
    ['a learnt hold has a most', 'math.min(800, meta.hold_ms * 2)', 'meta.hold_ms * 2', 'guards-learnt'],
    ['a learnt hold grows', 'or math.min(800, meta.hold_ms * 2)', 'or 50', 'guards-learnt'],
  ]),
  ...mutants('N6', 'nodes', [
    ['a 1303 pauses its model', 'a.pz = math.max(a.pz or 0, now + a.st)', '', 'nodes'],
    ['a 1303 stretches the rate', 'math.min(4000, math.floor(stretch * 5 / 4))', 'stretch', 'nodes'],
    [
      'a stretched rate has a most',
      'math.min(4000, math.floor(stretch * 5 / 4))',
      'math.floor(stretch * 5 / 4)',
      'guards-learnt',
    ],
    ['a stretched rate recovers', 'while a.st > 1000 and call.meta', 'while false and call.meta', 'guards-learnt'],
    ['an overload pauses longer each time', 'a.k = math.min((a.k or 0) + 1, 6)', 'a.k = 1', 'nodes'],
    ['the pause of overloads has a most', 'a.k = math.min((a.k or 0) + 1, 6)', 'a.k = (a.k or 0) + 1', 'guards-learnt'],
    [
      'an answer ends the row of overloads',
      'touch(call, model_node).a.k = 0',
      'touch(call, model_node)',
      'guards-learnt',
    ],
    ['failures open the breaker', 'if bad then a.bf = a.bf + 1 end', '', 'nodes'],
    ['a breaker needs its calls', 'if a.bc >= breaker[2] and', 'if', 'guards-learnt'],
    ['a breaker needs its share of failures', ' and a.bf * 100 >= breaker[1] * a.bc then', ' then', 'guards-learnt'],
    ['old failures do not count', 'if now - a.bs >= 60000 then a.bc, a.bf, a.bs = 0, 0, now end', '', 'guards-learnt'],
    ['a good probe closes the breaker', 'if good then a.bo, a.bc, a.bf, a.bs = 0, 0, 0, now end', '', 'nodes'],
    ['a bad probe keeps it open', 'if bad then a.bo = now + breaker[3] end', '', 'guards-learnt'],
    ['who has the probe keeps out others', 'record.a.bp = how.id', "record.a.bp = ''", 'nodes'],
    [
      'a 1308 freezes the account',
      "freeze_node(call, 'account', math.max(before and before.fz or 0, frozen + GUARD_MS))",
      'before = nil',
      'nodes',
    ],
    [
      'a freeze does not end sooner by a second refusal',
      'math.max(before and before.fz or 0, frozen + GUARD_MS)',
      'frozen + GUARD_MS',
      'guards-learnt',
    ],
    ['a freeze ends a guard late', 'before.fz or 0, frozen + GUARD_MS)', 'before.fz or 0, frozen)', 'nodes'],
  ]),
];
