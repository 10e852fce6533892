/** Mutants of who decides: W1 to W6, F1, L2, fences and once-only (inv-I5, inv-I6). */
import { mutants, suite, type Mutant } from './mutant.ts';

const STALE = 'generation >= tree[TREE_PATH_GENERATION] and generation <= tree[TREE_GENERATION]';

const configuration: readonly Mutant[] = [
  ...mutants('W1', 'acquire', [
    ['acquire: an older path is stale', STALE, 'generation <= tree[TREE_GENERATION]', 'deciders', 'fast'],
    ['acquire: a path ahead of ours is stale', STALE, 'generation >= tree[TREE_PATH_GENERATION]', 'deciders'],
  ]),
  ...mutants('W1', 'swap', [
    ['swap: an older path is stale', STALE, 'generation <= tree[TREE_GENERATION]', 'guards.test'],
    ['swap: a path ahead of ours is stale', STALE, 'generation >= tree[TREE_PATH_GENERATION]', 'guards.test'],
  ]),
  ...mutants('W1', 'configure', [
    ['a deleted node stays while it holds leases', 'record.i == 0 and not running', 'not running', 'deciders'],
    ['a deleted node stays while its rate waits', ' and (record.tat or 0) <= call.meta.now_us', '', 'guards.test'],
    [
      'paths that did not change are known still',
      'if same_leader and not nodes_differ(',
      'if false and not nodes_differ(',
      'deciders',
    ],
    [
      'a new leader has paths of its own',
      'if same_leader and not nodes_differ(',
      'if tree and not nodes_differ(',
      'guards.test',
    ],
    [
      'who waits is counted where it belongs now',
      'if call.meta.waiting > 0 and nodes_differ(',
      'if false and nodes_differ(',
      'guards.test',
    ],
  ]),
  ...mutants('W1', 'dispatch', [
    ['who waits at a leaf that is gone is denied', '  failing.never = true\n', '', 'guards.test'],
  ]),
  ...mutants('W1', 'paths', [
    ['a scope node is no leaf', 'if not config or config[NODE_SCOPE] then', 'if not config then', 'nodes'],
    ['a model without a node is counted with the others', "or 'model:other'", "or 'model:none'", 'deciders'],
    ['a scope node counts what matches', ' and in_scope(config[NODE_SCOPE], request) then', ' then', 'nodes'],
    ['a scope node counts what is counted on its parent', 'if on_path[scope[3]] and', 'if', 'guards.test'],
  ]),
  ...mutants('W1', 'prelude', [
    [
      'a tree is read again when it changed',
      'if not entry or entry.head ~= head then',
      'if not entry then',
      'deciders',
    ],
    [
      'a node is read again when others wrote it',
      'if not entry or entry[1] ~= text then',
      'if not entry then',
      'guards-memory',
    ],
    [
      'a record of the first release is not read',
      "error({ err = 'NOTREE this tree is not configured' })",
      'tree = read_tree(call)',
      'deciders',
    ],
    ['records of another form are told', "redis.call('HEXISTS', keys.meta, 'state') == 1", 'false', 'deciders'],
  ]),
  ...mutants('W5', 'configure', [
    [
      'what was decoded of another record is forgotten',
      'if decoded[call.keys.config] then',
      'if false then',
      'deciders',
    ],
  ]),
  ...mutants('W3', 'configure', [
    ['a foreign tree is a conflict', 'tree[1] ~= account[1] or tree[2] ~= account[2]', 'false', 'deciders'],
    ['an older writer is fenced', 'is_older(revision, stored) or', '', 'deciders'],
    ['the same revision with other content is fenced', 'same and hash ~= tree[7]', 'false', 'deciders'],
  ]),
  ...mutants('W4', 'configure', [
    [
      'a running window outlives its node',
      'configured_keys[key] or not has_ended(call, window)',
      'configured_keys[key]',
      'reconfigured',
    ],
    [
      'a window of a new identity starts at the old fraction',
      'if each[2] > 0 then seed(',
      'if false then seed(',
      'reconfigured',
    ],
    [
      'a limit that was there before inherits nothing',
      'before and before.keys[limit[LIMIT_KEY]]',
      'false',
      'reconfigured',
    ],
    ['a window passes on its use once', '(not before or before.keys[key])', 'true', 'reconfigured'],
    ['a window keeps to the name of its limit', '(old_name == name or renamed)', 'true', 'guards.test'],
  ]),
  ...mutants('W5', 'govern', [
    [
      'govern writes the config record',
      "redis.call('HSET', call.keys.config, 't', redis.call('HGET', call.keys.config, 't'))",
      '',
      'acl',
    ],
  ]),
  {
    guard: "a sidecar's user only reads the config record",
    rule: 'W5',
    file: 'sidecar/engine/acl.ts',
    find: '`%R~${config}`',
    put: '`~${config}`',
    red: [suite('acl')],
  },
  ...mutants('W6', 'acquire', [
    ['no higher class than the path allows', 'math.max(request.class, path.class)', 'request.class', 'queue'],
  ]),
  ...mutants('W6', 'paths', [
    [
      'a missing attribute matches unless told to skip',
      "if value == '' then return unset_matches end",
      '',
      ['nodes', 'guards.test'],
    ],
  ]),
];

const epochs: readonly Mutant[] = [
  ...mutants('W2', 'prelude', [
    ['another server raises the epoch', 'meta.identity ~= identity', 'false', 'deciders'],
    [
      'a declared move raises no epoch',
      'return from and to and meta.wall_ms < plan[1]',
      'return false',
      'guards-memory',
    ],
    ['one from another server does', 'return from and to and', 'return to and', 'guards-memory'],
    ['one to another server does', 'return from and to and', 'return from and', 'guards-memory'],
    ['and one after its time', ' and meta.wall_ms < plan[1]', '', 'guards-memory'],
    ['a caller ahead of us raises the epoch', 'epoch > call.meta.epoch and', 'false and', 'guards.test'],
    ['an epoch no clock can have raises nothing', ' and epoch < MAX_AMOUNT / 2 then', ' then', 'guards-memory'],
    ['fences are never repeated after a loss', 'wall_us, wall_us, wall_us', 'wall_us, wall_us, 0', 'guards.test'],
  ]),
  ...mutants('W2', 'acquire', [['acquire: the epoch check', 'other_epoch(call, ARGV[4])', 'nil', 'deciders']]),
  ...mutants('W2', 'settle', [['settle: the epoch check', 'other_epoch(call, ARGV[1])', 'nil', 'deciders']]),
  ...mutants('W2', 'swap', [['swap: the epoch check', 'other_epoch(call, ARGV[1])', 'nil', 'guards.test']]),
  ...mutants('W2', 'beat', [['beat: the epoch check', 'other_epoch(call, ARGV[2])', 'nil', 'leases']]),
];

const once: readonly Mutant[] = [
  ...mutants('inv-I5', 'settle', [
    ['settle: the fence', 'not lease or lease.f ~= fence', 'not lease', 'deciders', 'fast'],
  ]),
  ...mutants('inv-I5', 'beat', [
    ['beat: the fence', 'lease.f == fence and ', '', 'guards.test'],
    ['beat: the owner', 'lease.f == fence and lease.o == owner', 'lease.f == fence', 'leases'],
    ['beat: a waiter of somebody else is unknown', 'if waiter.owner ~= owner then return nil end', '', 'guards.test'],
    [
      'beat: a grant of somebody else is not told',
      'lease.v == 1 and lease.o == owner then\n    beat_lease',
      'lease.v == 1 then\n    beat_lease',
      'guards.test',
    ],
  ]),
  ...mutants('inv-I5', 'register', [
    ['register: the fence', 'lease.f ~= fence or ', '', 'guards.test'],
    ['register: the owner', 'lease.f ~= fence or lease.o ~= owner', 'lease.f ~= fence', 'guards.test'],
    ['register: what was settled stays settled', 'elseif not is_done(call, id) then', 'else', 'guards.test'],
    [
      'register: who waits for what it runs leaves',
      'if text then queue.leave',
      'if false then queue.leave',
      'guards.test',
    ],
  ]),
  ...mutants('inv-I5', 'acquire', [
    ['acquire: a lease of another owner', 'lease.v == 1 and lease.o == request.owner', 'lease.v == 1', 'deciders'],
    ['acquire: a waiter of another owner', "if waiter.owner ~= request.owner then return { 'done' } end", '', 'queue'],
    ['acquire: a denial of another owner', 'not notice or notice[1] ~= owner', 'not notice', 'guards.test'],
    ['acquire: an id that is over', "if is_done(call, id) then return { 'done' } end", '', 'deciders'],
  ]),
  ...mutants('inv-I5', 'leases', [
    ['an id that ended is remembered', '  bury(call, id)\nend', 'end', 'deciders'],
    [
      'windows are settled once',
      "  redis.call('HDEL', call.keys.leases, id)\n  redis.call('ZREM', call.keys.late, id)\nend",
      'end',
      'deciders',
    ],
    ['what is held is over for everybody', 'not lease or lease.h == 1 or', 'not lease or', 'guards.test'],
  ]),
];

const numbers: readonly Mutant[] = [
  ...['claim', 'settle', 'swap', 'cancel', 'beat', 'tick', 'govern'].flatMap((name) =>
    mutants('F1', name, [[`${name} runs when memory is full`, "{ 'allow-oom' }", '{}', 'guards.test']]),
  ),
  ...mutants('F1', 'register', [['register runs when memory is full', "{ 'allow-oom' }", '{}', 'guards.test']]),
  ...mutants('F1', 'acquire', [
    [
      'acquire stops when memory is full',
      "register('acquire', acquire, {})",
      "register('acquire', acquire, { 'allow-oom' })",
      'guards.test',
    ],
  ]),
  ...mutants('L2', 'prelude', [
    [
      'numbers are told in digits',
      "string.format('%.0f', number)",
      "string.format('%.14g', number)",
      'windows',
      'fast',
    ],
    ['sums stay below 2^53', 'if amount > MAX_AMOUNT then return MAX_AMOUNT end', '', 'guards.test'],
    ['sums stay above zero', 'if amount < 0 then return 0 end', '', 'guards.test'],
  ]),
  ...mutants('F3', 'remember', [
    [
      'only an empty memory takes over what is remembered',
      'ipairs(call.fresh and remembered or {}) do\n    local config = nodes[each[1]]\n    for',
      'ipairs(remembered) do\n    local config = nodes[each[1]]\n    for',
      'guards-memory',
    ],
    ['what was used before is remembered', 'if each[3] > 0 then seed(', 'if false then seed(', 'nodes'],
    [
      'only an empty memory takes over what was learnt',
      'ipairs(call.fresh and remembered or {}) do\n    local config = nodes[each[1]]\n    if config',
      'ipairs(remembered) do\n    local config = nodes[each[1]]\n    if config',
      'guards-memory',
    ],
    [
      'a remembered limit keeps to its bounds',
      'a.c = clamp(each[3], config[NODE_MIN], config[NODE_CONCURRENCY])',
      'a.c = each[3]',
      'guards-memory',
    ],
    [
      'a remembered wait is no longer than the burst',
      'now_us + math.min(wait_us, config[NODE_BURST] * interval)',
      'now_us + wait_us',
      'guards-memory',
    ],
  ]),
  ...mutants('L2', 'meters', [
    ['what lands stays below 2^53', 'math.min(amount, MAX_AMOUNT - window.u)', 'amount', 'guards.test'],
  ]),
  ...mutants('L2', 'charges', [
    [
      'an anchored reserve stays below 2^53',
      'math.min(amount, MAX_AMOUNT - (window.c and window.c.r or 0))',
      'amount',
      'guards.test',
    ],
    ['a metered reserve stays below 2^53', 'math.min(amount, MAX_AMOUNT - window.r)', 'amount', 'guards.test'],
  ]),
];

export const DECIDERS = [...configuration, ...epochs, ...once, ...numbers];
