/** The installed Redis as the operator sees it, from outside the cluster. */
import { once } from 'node:events';
import { connect, type TLSSocket } from 'node:tls';
import { createAdminEngine } from '#sidecar/engine/client.ts';
import type { AdminEngine } from '#sidecar/engine/port.ts';
import type { AuditReport, TreeSnapshot } from '#sidecar/engine/terms.ts';
import type { TreeKey } from '#sidecar/engine/tree-terms.ts';
import type { KubeObject } from '#operator/runtime/resources.ts';
import { treeKeyOf } from '#operator/trees/names.ts';
import { rotationOf, treePassword } from '#operator/tree-users.ts';
import { Redis } from 'ioredis';
import { getJson, OPERATOR_NAMESPACE, type Platform, type Tenant } from './platform.ts';

const HOST = `glmquota-redis.${OPERATOR_NAMESPACE}.svc`;

export interface RedisAccess {
  /** The Service's address, reachable from this machine. */
  readonly address: string;
  readonly host: string;
  readonly secret: Readonly<Record<string, string>>;
}

export async function redisAccess(platform: Platform): Promise<RedisAccess> {
  const place = ['glmquota-redis', '-n', OPERATOR_NAMESPACE];
  const [service, secret] = await Promise.all([
    getJson<{ spec: { clusterIP: string } }>(platform, 'service', ...place),
    getJson<{ data: Record<string, string> }>(platform, 'secret', ...place),
  ]);
  const decoded = Object.entries(secret.data).map(([name, text]) => [name, Buffer.from(text, 'base64').toString()]);
  return { address: service.spec.clusterIP, host: HOST, secret: Object.fromEntries(decoded) as Record<string, string> };
}

export interface Store extends Disposable {
  readonly redis: Redis;
  readonly engine: AdminEngine;
  snapshot(tenant: Tenant): Promise<TreeSnapshot>;
  audit(tenant: Tenant): Promise<AuditReport>;
}

export function treeOf(tenant: Tenant): TreeKey {
  return treeKeyOf({ namespace: tenant.name, name: 'main' });
}

/** What the sidecars of a tenant log in with. */
export async function sidecarPassword(platform: Platform, tenant: Tenant): Promise<string> {
  const { secret } = await redisAccess(platform);
  const account = ['glmaccount', 'main', '-n', tenant.name];
  const { metadata } = await getJson<Pick<KubeObject, 'metadata'>>(platform, ...account);
  const rotation = rotationOf({ uid: metadata.uid, annotations: metadata.annotations ?? {} });
  return treePassword(secret['tree-users-key'] ?? '', treeOf(tenant), rotation);
}

/** Connects as the operator's user. */
export async function openStore(platform: Platform): Promise<Store> {
  const { address, host, secret } = await redisAccess(platform);
  const redis = new Redis({
    host: address,
    port: 6379,
    username: secret['operator-username'] ?? '',
    password: secret['operator-password'] ?? '',
    tls: { servername: host, ca: secret['ca.crt'] ?? '' },
    commandTimeout: 10_000,
  });
  // Redis is taken away on purpose; calls tell.
  redis.on('error', () => undefined);
  const engine = createAdminEngine({ redis });
  return {
    redis,
    engine,
    snapshot: async (tenant) => {
      const snapshot = await engine.snapshot(treeOf(tenant));
      if (!snapshot) throw new Error(`Redis has no tree of ${tenant.name}`);
      return snapshot;
    },
    audit: (tenant) => engine.audit(treeOf(tenant)),
    [Symbol.dispose]: () => redis.disconnect(),
  };
}

/** A raw TLS connection to Redis; `say` sends one inline command and gives the first line of the answer. */
export async function rawRedis({
  address,
  host,
  secret,
}: RedisAccess): Promise<{ say(line: string): Promise<string> } & Disposable> {
  const socket: TLSSocket = connect({ host: address, port: 6379, servername: host, ca: secret['ca.crt'] ?? '' });
  await once(socket, 'secureConnect');
  return {
    say: async (line) => {
      const answer = once(socket, 'data') as Promise<[Buffer]>;
      socket.write(`${line}\r\n`);
      const [chunk] = await answer;
      return chunk.toString().split('\r\n')[0] ?? '';
    },
    [Symbol.dispose]: () => socket.destroy(),
  };
}

/** What the tree's node has charged to the limit. */
export function usedOf(snapshot: TreeSnapshot, node: string, limit: string): number {
  const usage = snapshot.nodes.find(({ name }) => name === node)?.usage.find((each) => each.limit === limit);
  if (!usage) throw new Error(`the tree has no ${node}/${limit}`);
  return usage.used;
}
