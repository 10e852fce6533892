/** What the bundled Redis needs to start, and what both sides need to reach it: made once, kept in one Secret. */
import { createHash } from 'node:crypto';
import { newId } from '../../sidecar/base/ids.ts';
import type { Clock } from '../../sidecar/base/clock.ts';
import { ensureSecret, type SecretPlace } from './authority.ts';
import { type KeyPair, signServerCertificate } from './x509.ts';

export interface RedisCredentials {
  readonly operator: { readonly username: string; readonly password: string };
  readonly sidecar: { readonly username: string; readonly password: string };
  readonly caPem: string;
}

export interface RedisSecretOptions {
  readonly authority: KeyPair;
  /** Service name by which clients reach Redis, e.g. `glmquota-redis.glmquota.svc`. */
  readonly host: string;
  /** ACL rules of the user all sidecars share, as `ACL SETUSER` takes them. */
  readonly sidecarRules: readonly string[];
  readonly clock: Clock;
}

const SERVER_DAYS = 3650;
const KEYS = ['ca.crt', 'operator-username', 'operator-password', 'sidecar-username', 'sidecar-password'];

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
  const sidecarPassword = newId() + newId();
  return {
    'tls.crt': server.certPem,
    'tls.key': server.keyPem,
    'ca.crt': authority.certPem,
    'operator-username': 'operator',
    'operator-password': operatorPassword,
    'sidecar-username': 'sidecar',
    'sidecar-password': sidecarPassword,
    'users.acl': `${[
      // Nobody can be this user, but Redis 7.0 replays transactions of its append-only file with what it may do: without
      // rights, a restart would silently drop every one of them.
      'user default off ~* &* +@all',
      aclLine('operator', operatorPassword, ['~*', '&*', '+@all']),
      aclLine('sidecar', sidecarPassword, options.sidecarRules),
    ].join('\n')}\n`,
  };
}

/** Reads credentials out of a Secret's data; the same keys serve an external Redis, whose Secret people make. */
export function redisCredentials(data: Readonly<Record<string, string>>): RedisCredentials {
  const field = (key: string): string => data[key] ?? '';
  return {
    operator: { username: field('operator-username'), password: field('operator-password') },
    sidecar: { username: field('sidecar-username'), password: field('sidecar-password') },
    caPem: field('ca.crt'),
  };
}

/** The credentials of the bundled Redis, made on first call. Concurrent callers get the same. */
export async function ensureRedisSecret(place: SecretPlace, options: RedisSecretOptions): Promise<RedisCredentials> {
  return redisCredentials(
    await ensureSecret(place, [...KEYS, 'tls.crt', 'tls.key', 'users.acl'], () => makeSecret(options)),
  );
}
