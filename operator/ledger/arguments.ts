/** The command line of replays. */
import { parseArgs } from 'node:util';
import type { ObjectKey } from '../trees/names.ts';

export interface ReplayOptions {
  readonly redisUrl: string;
  readonly username: string | undefined;
  readonly passwordFile: string | undefined;
  readonly caFile: string | undefined;
  readonly tree: ObjectKey;
  /** Of an entry of the stream; `-`: the first there is. */
  readonly from: string;
  /** Files of objects that compile to the other tree. */
  readonly whatIf: readonly string[];
  readonly limits: readonly LimitSetting[];
  readonly json: boolean;
}

/** `NODE/LIMIT=AMOUNT` as it was written. */
export interface LimitSetting {
  readonly node: string;
  readonly limit: string;
  readonly amount: string;
}

export type Arguments =
  | { readonly kind: 'run'; readonly options: ReplayOptions }
  | { readonly kind: 'help' }
  | { readonly kind: 'wrong'; readonly problems: readonly string[] };

export const USAGE = `Usage: npm run replay -- --redis URL --tree NAMESPACE/NAME [--from ID] [--json]
                      [--what-if FILE]... [--limit NODE/LIMIT=AMOUNT]...

Asks the engine's reference model everything that the ledger of an account's tree says the engine was asked, by the same
clock, and tells which verdicts differ. Changes nothing in Redis.

  --redis URL              redis://127.0.0.1:6379, rediss://host:port, rediss+sentinel://…/master or rediss+cluster://…
  --user NAME              of Redis, with --password-file FILE; default: none
  --ca FILE                certificates (PEM) that Redis is trusted by; default: the system's
  --tree NAMESPACE/NAME    the GLMAccount
  --from ID                of an entry (XRANGE); default: the first there is
  --what-if FILE           what would have become of the calls under the account and quotas of this file (YAML, as for
                           kubectl apply). May be given several times.
  --limit NODE/LIMIT=N     the same with one limit changed: account/five-hour=500, team-a/team/daily=12.50 (of GLMQuota
                           team in namespace team-a), model:glm-5.3/concurrency=4. May be given several times.
  --json                   JSON instead of tables
  -h, --help               this text

A replay begins where the state is known: at the beginning of a memory, or at a checkpoint, which the first call of every
hour leaves. What would have been is simulated: calls come when they came and run as long as they ran; what was never
granted runs as long as others of its model. Denials that had no entry of their own (calls that do not wait, counted by
second) cannot be asked for again.

Exit code: 0 every verdict is as the ledger says, 1 when one differs or something failed, 2 when the command line is wrong.`;

const NONE: string[] = [];

const OPTIONS = {
  help: { type: 'boolean', short: 'h' },
  redis: { type: 'string' },
  user: { type: 'string' },
  'password-file': { type: 'string' },
  ca: { type: 'string' },
  tree: { type: 'string' },
  from: { type: 'string', default: '-' },
  'what-if': { type: 'string', multiple: true, default: NONE },
  limit: { type: 'string', multiple: true, default: NONE },
  json: { type: 'boolean', default: false },
} as const;

/** Understands the arguments behind the program's name; reports all problems. */
export function parseArguments(argv: readonly string[]): Arguments {
  const values = read(argv);
  if (typeof values === 'string') return { kind: 'wrong', problems: [values] };
  if (values.help === true) return { kind: 'help' };
  const { redis, tree: account, from, limit, json, 'what-if': whatIf } = values;
  const tree = keyOf(account);
  const limits = limit.map(limitOf);
  const problems = [
    ...(redis === undefined ? ['--redis is missing, such as redis://127.0.0.1:6379'] : []),
    ...(tree === null ? ['--tree must be the namespace/name of a GLMAccount'] : []),
    ...(/^(-|\d+(-\d+)?)$/.test(from) ? [] : ['--from must be the id of an entry']),
    ...limit.filter((_, index) => !limits[index]).map((text) => `--limit must be NODE/LIMIT=AMOUNT, not ${text}`),
  ];
  if (problems.length > 0 || redis === undefined || tree === null) return { kind: 'wrong', problems };
  const access = { username: values.user, passwordFile: values['password-file'], caFile: values.ca };
  const changes = { whatIf, limits: limits.filter((each) => each !== null) };
  return { kind: 'run', options: { redisUrl: redis, ...access, tree, from, ...changes, json } };
}

function read(argv: readonly string[]) {
  try {
    return parseArgs({ args: [...argv], options: OPTIONS }).values;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

function keyOf(text: string | undefined): ObjectKey | null {
  const [, namespace, name] = /^([a-z0-9-]{1,63})\/([a-z0-9.-]{1,253})$/.exec(text ?? '') ?? [];
  return namespace === undefined || name === undefined ? null : { namespace, name };
}

function limitOf(text: string): LimitSetting | null {
  const [, node, limit, amount] = /^(.+)\/([^/=]+)=(.+)$/.exec(text) ?? [];
  return node === undefined || limit === undefined || amount === undefined ? null : { node, limit, amount };
}
