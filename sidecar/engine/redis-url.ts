/** The URLs by which a Redis is named: one server, Sentinels that know the master, or a cluster. */
import { isIP } from 'node:net';
import { AppError } from '../base/errors.ts';

export interface RedisHost {
  readonly host: string;
  readonly port: number;
}

export interface RedisPlace {
  /** `single`: the server itself. `sentinel`: Sentinels to ask for the master. `cluster`: some servers of a cluster. */
  readonly kind: 'single' | 'sentinel' | 'cluster';
  readonly tls: boolean;
  /** Exactly one for `single`. */
  readonly hosts: readonly [RedisHost, ...RedisHost[]];
  /** The master's name at the Sentinels; empty for the other kinds. */
  readonly master: string;
  /** Database number; a cluster has only 0. */
  readonly db: number;
}

const URL_FORM = /^(rediss?)(?:\+(sentinel|cluster))?:\/\/([^/]*)(?:\/(.*))?$/;
const DEFAULT_PORTS = { single: 6379, cluster: 6379, sentinel: 26379 } as const;

/**
 * Reads `rediss://host[:port][/db]`, `rediss+sentinel://host[:port],…/<master name>` or `rediss+cluster://host[:port],…`;
 * with `redis` instead of `rediss` on loopback addresses only. Fails with `invalid` on anything else, above all on
 * credentials: URLs are logged and shown.
 */
export function parseRedisUrl(text: string): RedisPlace {
  const [, scheme, plus, authority = '', path = ''] = URL_FORM.exec(text) ?? [];
  if (scheme === undefined || authority === '') throw unreadable();
  if (authority.includes('@')) throw new AppError('invalid', 'the Redis URL must not hold credentials');
  const kind = (plus ?? 'single') as RedisPlace['kind'];
  const tls = scheme === 'rediss';
  const [first, ...more] = authority.split(',').map((each) => parseHost(each, DEFAULT_PORTS[kind]));
  if (!first || (kind === 'single' && more.length > 0)) throw unreadable();
  const open = [first, ...more].find(({ host }) => !tls && !isLoopback(host));
  if (open) throw new AppError('invalid', `redis:// is for loopback addresses only, use rediss:// for ${open.host}`);
  return { kind, tls, hosts: [first, ...more], ...parsePath(kind, path) };
}

function parseHost(text: string, defaultPort: number): RedisHost {
  // A scheme that URL knows, so that it checks host and port as those of the web.
  const url = URL.parse(`https://${text}`);
  if (!url || url.hostname === '' || `${url.pathname}${url.search}${url.hash}` !== '/') throw unreadable();
  const port = /:(\d+)$/.exec(text)?.[1];
  return { host: url.hostname.replace(/^\[(.*)\]$/, '$1'), port: port === undefined ? defaultPort : Number(port) };
}

function parsePath(kind: RedisPlace['kind'], path: string): Pick<RedisPlace, 'master' | 'db'> {
  if (kind === 'sentinel') {
    if (!/^[\w.-]+$/.test(path))
      throw new AppError('invalid', 'the Redis URL must end in the name of the master: …/<name>');
    return { master: path, db: 0 };
  }
  if (path === '') return { master: '', db: 0 };
  if (kind === 'cluster') throw new AppError('invalid', 'a Redis cluster has no database numbers');
  if (!/^\d{1,5}$/.test(path)) throw new AppError('invalid', `not a database number: ${path}`);
  return { master: '', db: Number(path) };
}

function unreadable(): AppError {
  return new AppError(
    'invalid',
    'the Redis URL must look like rediss://host:port, rediss+sentinel://host:port,…/<master name> or rediss+cluster://host:port,…',
  );
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));
}
