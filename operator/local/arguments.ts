/** The command line of local mode. */
import { parseArgs } from 'node:util';
import { isLoopbackHost } from '../trees/origins.ts';
import type { ObjectKey } from '../trees/names.ts';

export interface LocalOptions {
  readonly files: readonly string[];
  /** Null: the only quota there is. */
  readonly quota: ObjectKey | null;
  /** Null: start a redis-server. */
  readonly redisUrl: string | null;
}

export type Arguments =
  | { readonly kind: 'run'; readonly options: LocalOptions }
  | { readonly kind: 'help' }
  | { readonly kind: 'wrong'; readonly problems: readonly string[] };

/** Good as it is but for the key; a test runs it through the plan. */
export const EXAMPLE = `apiVersion: v1
kind: Secret
metadata: { name: glm-key }
type: glmquota.io/credential
stringData: { apiKey: <the vendor's key> }
---
apiVersion: glmquota.io/v1alpha1
kind: GLMAccount
metadata: { name: max }
spec:
  billing: CodingPlan
  region: International
  plan: { name: Max, generation: Credits }
  credentialSecretRef: { name: glm-key }
  concurrency: { max: 2 }
---
apiVersion: glmquota.io/v1alpha1
kind: GLMQuota
metadata: { name: me }
spec:
  accountRef: { name: max }
  limits:
    - { name: five-hour, amount: "50%" }
    - { name: daily, resource: Cost, amount: "20.00", window: { type: Calendar, period: Day, timeZone: UTC } }`;

export const USAGE = `Usage: npm run local -- -f FILE [-f FILE]... [--quota NAMESPACE/NAME] [--redis URL]

Runs one sidecar on this machine from the files one would kubectl apply: GLMAccount, GLMQuota, GLMCatalog, Secret,
Namespace (for its labels). Prints the environment to export; ends on Ctrl-C.

  -f, --file FILE          YAML, one or more documents; - reads standard input. May be given several times.
  --quota NAMESPACE/NAME   the GLMQuota to draw on; may be left out when there is only one
  --redis URL              redis://127.0.0.1:6379 or rediss://host:port; several local sidecars share their limits
                           through it. Left out: a redis-server is started and forgotten at the end.
  -h, --help               this text

Exit code: 0 after Ctrl-C, 1 when something failed while running, 2 when the command line or the files are wrong.

An example of a file (crds/examples/valid has more):

${EXAMPLE}`;

/** Understands the arguments behind the program's name; reports all problems. */
export function parseArguments(argv: readonly string[]): Arguments {
  const parsed = read(argv);
  if (typeof parsed === 'string') return { kind: 'wrong', problems: [parsed] };
  const { help, file, quota, redis } = parsed;
  if (help === true) return { kind: 'help' };
  const problems: string[] = [];
  if (file === undefined) problems.push('no file given; add -f quota.yaml');
  const key = quota === undefined ? null : parseQuota(quota);
  if (typeof key === 'string') problems.push(key);
  const wrongRedis = redis === undefined ? null : redisProblem(redis);
  if (wrongRedis !== null) problems.push(wrongRedis);
  if (problems.length > 0 || typeof key === 'string') return { kind: 'wrong', problems };
  return { kind: 'run', options: { files: file ?? [], quota: key, redisUrl: redis ?? null } };
}

interface Values {
  readonly help?: boolean;
  readonly file?: string[];
  readonly quota?: string;
  readonly redis?: string;
}

function read(argv: readonly string[]): Values | string {
  try {
    const { values } = parseArgs({
      args: [...argv],
      options: {
        help: { type: 'boolean', short: 'h' },
        file: { type: 'string', short: 'f', multiple: true },
        quota: { type: 'string' },
        redis: { type: 'string' },
      },
    });
    return values;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

function parseQuota(text: string): ObjectKey | string {
  const match = /^([a-z0-9-]{1,63})\/([a-z0-9.-]{1,253})$/.exec(text);
  if (!match) return `--quota must be namespace/name, not ${text}`;
  const [, namespace = '', name = ''] = match;
  return { namespace, name };
}

function redisProblem(text: string): string | null {
  const url = URL.parse(text);
  if (url?.protocol === 'rediss:' && url.hostname !== '') return null;
  if (url?.protocol === 'redis:' && isLoopbackHost(url.hostname)) return null;
  if (url?.protocol === 'redis:') return `--redis ${url.host} is not on this machine; use rediss:// (TLS) for it`;
  return '--redis must be redis://127.0.0.1:port or rediss://host:port';
}
