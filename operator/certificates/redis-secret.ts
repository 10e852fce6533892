/** What the bundled Redis needs to start, and what both sides need to reach it: made once, kept in one Secret. */
import { createHash } from 'node:crypto';
import { newId } from '../../sidecar/base/ids.ts';
import type { Clock } from '../../sidecar/base/clock.ts';
import { AppError } from '../../sidecar/base/errors.ts';
import type { RedisUser } from '../../sidecar/engine/connect.ts';
import { ensureSecret, type SecretPlace } from './authority.ts';
import { type KeyPair, signServerCertificate } from './x509.ts';

export interface RedisCredentials {
  readonly operator: RedisUser;
  readonly sidecars: SidecarUsers;
  /** Null: the Sentinels ask for none, or there are none. */
  readonly sentinel: RedisUser | null;
  readonly caPem: string;
}

/** `perTree`: the operator writes a user for each tree, whose password derives from `key`. `shared`: people made one for all. */
export type SidecarUsers =
  | { readonly kind: 'perTree'; readonly key: string }
  | ({ readonly kind: 'shared' } & RedisUser);

export interface RedisSecretOptions {
  readonly authority: KeyPair;
  /** Service name by which clients reach Redis, e.g. `glmquota-redis.glmquota.svc`. */
  readonly host: string;
  readonly clock: Clock;
}

const SERVER_DAYS = 3650;
const KEYS = ['tls.crt', 'tls.key', 'ca.crt', 'users.acl', 'operator-username', 'operator-password'];

function aclLine(username: string, password: string, rules: readonly string[]): string {
  // The file holds hashes: whoever reads the volume of the Redis pod learns no password.
  return `user ${username} on #${createHash('sha256').update(password).digest('hex')} ${rules.join(' ')}`;
}

async function makeSecret(options: RedisSecretOptions): Promise<Readonly<Record<string, string>>> {
  const { authority, host, clock } = options;
  const dnsNames = [host, `${host}.cluster.local`, 'localhost'];
  const server = await signServerCertificate(
    authority,
    { commonName: 'redis', dnsNames },
    { nowMs: clock.nowMs(), days: SERVER_DAYS },
  );
  const operatorPassword = newId() + newId();
  return {
    'tls.crt': server.certPem,
    'tls.key': server.keyPem,
    'ca.crt': authority.certPem,
    'operator-username': 'operator',
    'operator-password': operatorPassword,
    'tree-users-key': newId() + newId(),
    'users.acl': `${[
      // Nobody can be this user, but Redis 7.0 replays transactions of its append-only file with what it may do: without
      // rights, a restart would silently drop every one of them.
      'user default off ~* &* +@all',
      aclLine('operator', operatorPassword, ['~*', '&*', '+@all']),
      // Users of trees come and go while Redis runs: the controller writes them.
    ].join('\n')}\n`,
  };
}

/**
 * Reads credentials out of a Secret's data, null when they are not whole. The same keys serve an external Redis, whose
 * Secret people make; a Secret of the first release names one user for all sidecars, and keeps working.
 */
export function redisCredentials(data: Readonly<Record<string, string>>): RedisCredentials | null {
  const operator = userIn(data, 'operator');
  const shared = userIn(data, 'sidecar');
  const key = data['tree-users-key'] ?? '';
  if (operator === null || (key === '' && shared === null)) return null;
  return {
    operator,
    sidecars: key === '' && shared !== null ? { kind: 'shared', ...shared } : { kind: 'perTree', key },
    sentinel: userIn(data, 'sentinel'),
    caPem: data['ca.crt'] ?? '',
  };
}

function userIn(data: Readonly<Record<string, string>>, name: string): RedisUser | null {
  const [username, password] = [data[`${name}-username`] ?? '', data[`${name}-password`] ?? ''];
  return username === '' || password === '' ? null : { username, password };
}

/** The credentials of the bundled Redis, made on first call. Concurrent callers get the same. */
export async function ensureRedisSecret(place: SecretPlace, options: RedisSecretOptions): Promise<RedisCredentials> {
  const credentials = redisCredentials(await ensureSecret(place, KEYS, () => makeSecret(options)));
  if (credentials !== null) return credentials;
  const { namespace, name } = place;
  throw new AppError('invalid', `Secret ${namespace}/${name} lacks tree-users-key; delete it to have it made anew`);
}
