/** What travels between pods: the road to Redis is led over this machine and every byte of it is looked at. */
import { connect as connectTcp, createServer, type Server, type Socket } from 'node:net';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { treeUser } from '#sidecar/engine/acl.ts';
import { waitFor } from '#test/cluster/wait.ts';
import { callsOf, startAgent } from '#test/support/agents.ts';
import {
  apply,
  createTenant,
  getJson,
  type Manifest,
  OPERATOR_NAMESPACE,
  type Platform,
  type Tenant,
} from '#test/support/platform.ts';
import {
  openStore,
  rawRedis,
  redisAccess,
  type RedisAccess,
  sidecarPassword,
  treeOf,
} from '#test/support/store-of-platform.ts';

const SERVICE = 'glmquota-redis';

/** Passes every connection on and keeps both directions of each. */
class Eavesdropper {
  readonly heard: { fromClient: Buffer; fromServer: Buffer }[] = [];
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #target: string;

  constructor(target: string) {
    this.#target = target;
    this.#server = createServer((client) => this.#relay(client));
  }

  async listen(address: string): Promise<number> {
    await new Promise<void>((resolve) => this.#server.listen(0, address, resolve));
    return (this.#server.address() as { port: number }).port;
  }

  #relay(client: Socket): void {
    const server = connectTcp(6379, this.#target);
    const talk = { fromClient: Buffer.alloc(0), fromServer: Buffer.alloc(0) };
    this.heard.push(talk);
    client.on('data', (chunk: Buffer) => (talk.fromClient = Buffer.concat([talk.fromClient, chunk])));
    server.on('data', (chunk: Buffer) => (talk.fromServer = Buffer.concat([talk.fromServer, chunk])));
    for (const [socket, other] of [
      [client, server],
      [server, client],
    ] as const) {
      this.#sockets.add(socket);
      socket.on('error', () => other.destroy()).on('close', () => other.destroy());
    }
    client.pipe(server).pipe(client);
  }

  close(): void {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
  }
}

/** The types of the TLS records in a stream (the last one may be cut); throws where there is anything else. */
function tlsRecordTypes(stream: Buffer): Set<number> {
  const types = new Set<number>();
  for (let at = 0; at + 5 <= stream.length; at += 5 + stream.readUInt16BE(at + 3)) {
    const type = stream.readUInt8(at);
    if (type < 20 || type > 23 || stream.readUInt8(at + 1) !== 3) throw new Error(`no TLS record at byte ${at}`);
    types.add(type);
  }
  return types;
}

const APPLICATION_DATA = 23;
const HANDSHAKE = 22;

export function wire(platform: () => Platform): void {
  let tenant: Tenant;
  let access: RedisAccess;
  let eavesdropper: Eavesdropper;
  let selector: Readonly<Record<string, string>>;

  const leadTo = (target: Readonly<Record<string, string>> | null): Promise<string> => {
    const patch = [{ op: 'replace', path: '/spec/selector', value: target }];
    return platform().cluster.kubectl([
      'patch',
      'service',
      SERVICE,
      '-n',
      OPERATOR_NAMESPACE,
      '--type=json',
      '-p',
      JSON.stringify(patch),
    ]);
  };

  const endpoints = (address: string, port: number): Manifest => ({
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      name: 'eavesdropper',
      namespace: OPERATOR_NAMESPACE,
      labels: { 'kubernetes.io/service-name': SERVICE },
    },
    addressType: 'IPv4',
    ports: [{ name: 'redis', port, protocol: 'TCP' }],
    endpoints: [{ addresses: [address], conditions: { ready: true } }],
  });

  const inOperator = (...args: readonly string[]): Promise<string> =>
    platform().cluster.kubectl([args[0] ?? '', '-n', OPERATOR_NAMESPACE, ...args.slice(1)]);

  const OF_SERVICE = `kubernetes.io/service-name=${SERVICE}`;

  /** Removes what controllers wrote, and may write again from what they saw before: true when nothing but ours is left. */
  async function onlyOurs(): Promise<boolean> {
    await inOperator('delete', 'endpoints', SERVICE, '--ignore-not-found');
    const slices = (await inOperator('get', 'endpointslices', '-l', OF_SERVICE, '-o', 'name')).trim().split('\n');
    const others = slices.filter((slice) => !slice.endsWith('/eavesdropper'));
    if (others.length > 0) await inOperator('delete', ...others, '--ignore-not-found');
    return slices.length === 1 && others.length === 0;
  }

  /** Five connections in a row come through here: kube-proxy leads nowhere else any more. */
  async function leadsHere(): Promise<boolean> {
    const before = eavesdropper.heard.length;
    for (let i = 0; i < 5; i++) (await rawRedis(access))[Symbol.dispose]();
    return eavesdropper.heard.length === before + 5;
  }

  beforeAll(async () => {
    tenant = await createTenant(platform(), 'wired');
    access = await redisAccess(platform());
    const service = ['service', SERVICE, '-n', OPERATOR_NAMESPACE];
    selector = (await getJson<{ spec: { selector: Record<string, string> } }>(platform(), ...service)).spec.selector;
    const pod = ['pod', 'glmquota-redis-0', '-n', OPERATOR_NAMESPACE];
    const { status } = await getJson<{ status: { podIP: string } }>(platform(), ...pod);
    const { hostAddress } = platform().cluster;
    eavesdropper = new Eavesdropper(status.podIP);
    const port = await eavesdropper.listen(hostAddress);
    // Without a selector the Service's addresses are those somebody writes: new connections come to this machine.
    await leadTo(null);
    await apply(platform(), endpoints(hostAddress, port));
    await waitFor('the road to lead here', async () => (await onlyOurs()) && (await leadsHere()), { intervalMs: 200 });
  });

  afterAll(async () => {
    await inOperator('delete', 'endpointslice', 'eavesdropper', '--ignore-not-found');
    await leadTo(selector);
    eavesdropper.close();
    await waitFor('Redis to be reached again', async () => {
      using store = await openStore(platform());
      return (await store.redis.ping()) === 'PONG';
    });
  });

  test('a sidecar and Redis say nothing to each other that a listener can read', async () => {
    const before = eavesdropper.heard.length;
    const agent = await startAgent(platform(), tenant, 'agent');
    expect((await callsOf(platform(), agent, 3)).map(({ status }) => status)).toEqual([200, 200, 200]);
    const talks = eavesdropper.heard.slice(before);
    const bytes = talks.reduce((sum, { fromClient, fromServer }) => sum + fromClient.length + fromServer.length, 0);
    console.log(`listened to ${talks.length} connections, ${bytes} bytes`);
    expect(talks.length).toBeGreaterThan(0);
    for (const { fromClient, fromServer } of talks) {
      for (const stream of [fromClient, fromServer]) {
        expect(tlsRecordTypes(stream)).toContain(HANDSHAKE);
        expect(tlsRecordTypes(stream)).toContain(APPLICATION_DATA);
      }
    }
    const heard = Buffer.concat(talks.flatMap(({ fromClient, fromServer }) => [fromClient, fromServer])).toString(
      'latin1',
    );
    const password = await sidecarPassword(platform(), tenant);
    for (const each of [tenant.key, password, 'FCALL', 'AUTH', 'team', 'glm-5.3']) expect(heard).not.toContain(each);
  });

  test('Redis does not speak without TLS', async () => {
    const pod = ['pod', 'glmquota-redis-0', '-n', OPERATOR_NAMESPACE];
    const { status } = await getJson<{ status: { podIP: string } }>(platform(), ...pod);
    const answer = await new Promise<string>((resolve, reject) => {
      const socket = connectTcp(6379, status.podIP, () => socket.write('PING\r\n'));
      let text = '';
      socket.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')));
      socket.on('close', () => resolve(text)).on('error', (error: NodeJS.ErrnoException) => reject(error));
    }).catch((error: NodeJS.ErrnoException) => String(error.code));
    expect(answer).not.toContain('PONG');
    expect(answer).not.toContain('NOAUTH');
  });

  test('Redis does nothing for those who do not name themselves, nor for the default user', async () => {
    using connection = await rawRedis(access);
    expect(await connection.say('PING')).toMatch(/^-NOAUTH/);
    expect(await connection.say('KEYS *')).toMatch(/^-NOAUTH/);
    expect(await connection.say('AUTH default')).toMatch(/^-/);
    expect(await connection.say(`AUTH ${treeUser(treeOf(tenant))} wrong`)).toMatch(/^-WRONGPASS/);
  });

  test('the user of the sidecars reads no tree at large and configures none', async () => {
    using connection = await rawRedis(access);
    const password = await sidecarPassword(platform(), tenant);
    expect(await connection.say(`AUTH ${treeUser(treeOf(tenant))} ${password}`)).toBe('+OK');
    const forbidden = ['KEYS *', 'SCAN 0', 'FLUSHALL', 'CONFIG GET *', 'ACL LIST', 'FUNCTION LIST', 'GET x', 'MONITOR'];
    for (const command of forbidden) expect(`${command}: ${await connection.say(command)}`).toContain(': -NOPERM');
  });
}
