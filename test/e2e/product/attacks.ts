/** What code in an agent's container (A of the README's security section) tries, from inside a real one. */
import { create, toBinary } from '@bufbuild/protobuf';
import { beforeAll, describe, expect, test } from 'vitest';
import { WatchRequestSchema } from '#proto/glmquota/v1/control_pb.ts';
import { ENGINE_VERSION } from '#sidecar/engine/library.ts';
import { type Agent, agentPod, callOf, runInAgent, startAgent } from '#test/support/agents.ts';
import {
  apply,
  attempt,
  createTenant,
  getJson,
  type Platform,
  quotaObject,
  type Tenant,
} from '#test/support/platform.ts';
import { redisAccess, sidecarPassword } from '#test/support/store-of-platform.ts';

/** Asks edge for a snapshot as a sidecar would, with the token given or read from a file of the agent. */
const WATCH = `
  const http2 = require('node:http2');
  const token = input.token ?? require('node:fs').readFileSync(input.tokenFile, 'utf8').trim();
  const session = http2.connect('https://glmquota-edge.glmquota.svc:8443', { rejectUnauthorized: false });
  const stream = session.request({
    ':method': 'POST', ':path': '/glmquota.v1.ControlService/Watch',
    'content-type': 'application/grpc', te: 'trailers', authorization: 'Bearer ' + token,
  });
  const request = Buffer.from(input.request, 'base64');
  const frame = Buffer.alloc(5);
  frame.writeUInt32BE(request.length, 1);
  stream.end(Buffer.concat([frame, request]));
  const done = (result) => { console.log(JSON.stringify(result)); process.exit(0); };
  const told = (headers) => {
    const status = headers['grpc-status'];
    if (status !== undefined) done({ status: Number(status), message: decodeURIComponent(headers['grpc-message'] ?? ''), data: '' });
  };
  stream.on('response', told).on('trailers', told);
  stream.on('data', (chunk) => done({ status: 0, message: '', data: chunk.toString('latin1') }));
  stream.on('error', (error) => done({ status: -1, message: String(error), data: '' }));
  setTimeout(() => done({ status: -2, message: 'no answer', data: '' }), 20000);`;

const UNAUTHENTICATED = 16;

interface Told {
  readonly status: number;
  readonly message: string;
  readonly data: string;
}

const DEFAULT_TOKEN = '/var/run/secrets/kubernetes.io/serviceaccount/token';

export function attacks(platform: () => Platform): void {
  let tenant: Tenant;
  let agent: Agent;
  let secrets: readonly string[];

  const inAgent = (code: string, input?: unknown): Promise<string> => runInAgent(platform(), agent, code, input);

  async function watchAs(from: Agent, token: { token: string } | { tokenFile: string }): Promise<Told> {
    const message = create(WatchRequestSchema, { sidecarVersion: '0.1.0', engineVersions: [ENGINE_VERSION] });
    const request = Buffer.from(toBinary(WatchRequestSchema, message)).toString('base64');
    return JSON.parse(await runInAgent(platform(), from, WATCH, { ...token, request })) as Told;
  }

  const mintedToken = ({ namespace, pod }: Agent): Promise<string> => {
    const bound = ['--bound-object-kind', 'Pod', '--bound-object-name', pod];
    const minted = ['create', 'token', 'default', '-n', namespace, '--audience', 'glmquota', ...bound];
    return platform()
      .cluster.kubectl(minted)
      .then((text) => text.trim());
  };

  beforeAll(async () => {
    tenant = await createTenant(platform(), 'attacked');
    agent = await startAgent(platform(), tenant, 'agent');
    expect(await callOf(platform(), agent)).toMatchObject({ status: 200 });
    const { secret } = await redisAccess(platform());
    const password = await sidecarPassword(platform(), tenant);
    secrets = [tenant.key, password, secret['operator-password'] ?? ''];
    expect(secrets.every((each) => each.length > 16)).toBe(true);
  });

  test('neither its environment nor any process it can see holds a key, a password or a token of ours', async () => {
    const seen = await inAgent(`
      const fs = require('node:fs');
      const read = (path) => { try { return fs.readFileSync(path, 'latin1'); } catch (error) { return error.code; } };
      const pids = fs.readdirSync('/proc').filter((name) => /^[0-9]+$/.test(name));
      console.log(JSON.stringify({ env: process.env, pids,
        processes: pids.map((pid) => [read('/proc/' + pid + '/cmdline'), read('/proc/' + pid + '/environ')]) }));`);
    const { pids, processes } = JSON.parse(seen) as { pids: string[]; processes: [string, string][] };
    // Its own first process and the one that runs this code; the sidecar is in another process namespace.
    expect(pids).toContain('1');
    expect(processes.every(([command]) => command.startsWith('/bin/node\0-e'))).toBe(true);
    for (const secret of secrets) expect(seen).not.toContain(secret);
    expect(seen).not.toMatch(/GLMQUOTA_(TOKEN|BINDING|CONTROL|CA)/);
  });

  test("the sidecar's token, memory and files are out of its reach", async () => {
    const found = await inAgent(`
      const fs = require('node:fs');
      const seen = [];
      const walk = (folder, depth) => {
        let entries = [];
        try { entries = fs.readdirSync(folder || '/', { withFileTypes: true }); } catch { return; }
        for (const entry of entries) {
          const path = folder + '/' + entry.name;
          if (/^\\/(proc|sys|dev)$/.test(path)) continue;
          if (/glmquota/.test(path)) seen.push(path);
          if (entry.isDirectory() && depth < 6) walk(path, depth + 1);
        }
      };
      walk('', 0);
      console.log(JSON.stringify({ seen, mounts: fs.readFileSync('/proc/self/mountinfo', 'utf8') }));`);
    const { seen, mounts } = JSON.parse(found) as { seen: string[]; mounts: string };
    expect(seen).toEqual(['/var/run/glmquota', '/var/run/glmquota/lease.sock']);
    expect(mounts).not.toContain('/var/run/secrets/glmquota');
  });

  test('what the sidecar serves on loopback tells no secret', async () => {
    const told = await inAgent(`
      const bodies = [];
      for (const path of ['/metrics', '/readyz', '/env', '/config', '/debug', '/json/list'])
        bodies.push(await fetch('http://127.0.0.1:15464' + path).then((r) => r.text(), (e) => String(e.cause)));
      bodies.push(await fetch('http://127.0.0.1:9229/json/list').then((r) => r.text(), (e) => e.cause.code));
      console.log(JSON.stringify(bodies));`);
    expect(told).toContain('ECONNREFUSED');
    for (const secret of secrets) expect(told).not.toContain(secret);
  });

  test("the pod's own service account reads no Secret and mints no token", async () => {
    const statuses = await inAgent(
      `
      process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0';
      const token = require('node:fs').readFileSync(input.file, 'utf8');
      const ask = (path, method = 'GET', body) => fetch('https://kubernetes.default.svc' + path, { method, body,
        headers: { authorization: 'Bearer ' + token, 'content-type': 'application/json' } }).then((r) => r.status);
      console.log(JSON.stringify([
        await ask('/api/v1/namespaces/glmquota/secrets/glmquota-redis'),
        await ask('/api/v1/namespaces/' + input.namespace + '/secrets/glm-key'),
        await ask('/api/v1/namespaces/' + input.namespace + '/serviceaccounts/default/token', 'POST', JSON.stringify(
          { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', spec: { audiences: ['glmquota'] } })),
      ]));`,
      { file: DEFAULT_TOKEN, namespace: tenant.name },
    );
    expect(JSON.parse(statuses)).toEqual([403, 403, 403]);
  });

  describe('asking edge for the key', () => {
    let victim: Agent;
    beforeAll(async () => {
      victim = await startAgent(platform(), tenant, 'victim');
    });

    test('with the service account token every pod has is refused', async () => {
      expect(await watchAs(agent, { tokenFile: DEFAULT_TOKEN })).toMatchObject({ status: UNAUTHENTICATED });
    });

    test('with a token nobody signed is refused', async () => {
      const [header = '', payload = ''] = (await mintedToken(agent)).split('.');
      const token = `${header}.${payload}.${Buffer.alloc(256, 7).toString('base64url')}`;
      expect(await watchAs(agent, { token })).toMatchObject({ status: UNAUTHENTICATED });
    });

    test("with another pod's good token is refused, because the call comes from the wrong address", async () => {
      const token = await mintedToken(victim);
      expect(await watchAs(agent, { token })).toMatchObject({
        status: UNAUTHENTICATED,
        message: 'the call does not come from the address of its pod',
      });
      // The token is as good as it can be: from its own pod it is served. Minting one is what A cannot do.
      const served = await watchAs(victim, { token });
      expect(served).toMatchObject({ status: 0 });
      expect(served.data).toContain(tenant.key);
    });
  });

  const kubectl = (...args: readonly string[]): Promise<string> =>
    attempt(platform(), [args[0] ?? '', '-n', tenant.name, ...args.slice(1)]);

  test('a projected token of our audience is refused at admission, with the sidecar and without', async () => {
    const volume = {
      name: 'mine',
      projected: { sources: [{ serviceAccountToken: { audience: 'glmquota', path: 'token' } }] },
    };
    const pod = agentPod(platform(), tenant.name, 'thief', { spec: { ...plainSpec(), volumes: [volume] } });
    const bare = { ...pod, metadata: { name: 'thief', namespace: tenant.name } };
    for (const each of [pod, bare]) {
      const said = await attempt(platform(), ['create', '-f', '-'], JSON.stringify(each));
      expect(said).toContain('a service account token of audience glmquota belongs to the injected sidecar alone');
    }
  });

  const plainSpec = (): Readonly<Record<string, unknown>> => ({
    containers: [{ name: 'agent', image: platform().images['demo-agent'].reference }],
  });

  test('it cannot choose another quota on its running pod', async () => {
    await apply(platform(), quotaObject(tenant.name, 'richer', { accountRef: { name: 'main' } }));
    expect(await kubectl('annotate', 'pod', 'agent', '--overwrite', 'glmquota.io/quota=richer')).toContain(
      'annotations of glmquota.io cannot change on a running pod',
    );
    const patch = JSON.stringify([
      { op: 'replace', path: '/spec/initContainers/0/env/0/value', value: 'attacked/richer' },
    ]);
    expect(await kubectl('patch', 'pod', 'agent', '--type=json', '-p', patch)).toContain('pod updates may not change');
    // Claims in headers narrow nothing out of it either.
    const said = await inAgent(`
      const r = await fetch(process.env.OPENAI_BASE_URL + '/chat/completions', { method: 'POST',
        headers: { 'content-type': 'application/json', 'x-glmquota-quota': 'attacked/richer', 'x-glmquota-binding': 'attacked/richer' },
        body: JSON.stringify({ model: 'glm-5.3', messages: [{ role: 'user', content: 'mine' }] }) });
      console.log(r.status);`);
    expect(said).toBe('200');
    type View = { status: { usage?: { used: string }[] } };
    const { status } = await getJson<View>(platform(), 'glmq', 'richer', '-n', tenant.name);
    expect(status.usage?.every(({ used }) => used === '0') ?? true).toBe(true);
  });

  test('exec, attach and ephemeral containers do not get into the sidecar', async () => {
    const sidecar = ['-c', 'glmquota-sidecar'];
    const refused = 'nobody may exec or attach into the sidecar';
    expect(await kubectl('exec', 'agent', ...sidecar, '--', '/bin/node', '-e', '0')).toContain(refused);
    expect(await kubectl('attach', 'agent', ...sidecar)).toContain(refused);
    const ephemeral = (fields: object): Promise<string> => {
      const image = platform().images['demo-agent'].reference;
      const patch = JSON.stringify({ spec: { ephemeralContainers: [{ name: 'debug', image, ...fields }] } });
      return kubectl('patch', 'pod', 'agent', '--subresource=ephemeralcontainers', '-p', patch);
    };
    expect(await ephemeral({ targetContainerName: 'glmquota-sidecar' })).toContain('may not join the sidecar');
    const volumeMounts = [{ name: 'glmquota-token', mountPath: '/t' }];
    expect(await ephemeral({ volumeMounts })).toContain("may not mount the sidecar's token");
  });

  test("the sidecar's image stays what the administrator configured", async () => {
    const image = platform().images['demo-agent'].reference;
    const patch = JSON.stringify([{ op: 'replace', path: '/spec/initContainers/0/image', value: image }]);
    const refused = 'the sidecar runs the image the administrator configured';
    expect(await kubectl('patch', 'pod', 'agent', '--type=json', '-p', patch)).toContain(refused);
    expect(await kubectl('label', 'pod', 'agent', 'glmquota.io/inject-')).toContain(
      'labels of glmquota.io cannot change',
    );
  });

  test.each([
    ['shares its process namespace', { shareProcessNamespace: true }, 'remove shareProcessNamespace'],
    ["sees the node's processes", { hostPID: true }, 'must not use hostPID'],
    ["is in the node's network", { hostNetwork: true }, 'hostNetwork'],
    [
      'gives our Services another address',
      { hostAliases: [{ ip: '10.0.0.1', hostnames: ['glmquota-redis.glmquota.svc'] }] },
      'hostAliases must not name the Services of glmquota',
    ],
    [
      'brings a sidecar of its own',
      { initContainers: [{ name: 'glmquota-sidecar', image: 'mine:1', restartPolicy: 'Always' }] },
      'reserved',
    ],
  ])('a pod that %s is refused', async (_, fields, message) => {
    const pod = agentPod(platform(), tenant.name, 'attacker', { spec: { ...plainSpec(), ...fields } });
    expect(await attempt(platform(), ['create', '-f', '-'], JSON.stringify(pod))).toContain(message);
  });

  test('after all of that the pod is served as before', async () => {
    expect(await callOf(platform(), agent)).toMatchObject({ status: 200 });
  });
}
