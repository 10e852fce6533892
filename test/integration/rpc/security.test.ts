import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { expect, onTestFinished, test } from 'vitest';
import { systemClock } from '#sidecar/base/clock.ts';
import { createLog } from '#sidecar/base/log.ts';
import { Channel } from '#sidecar/rpc/channel.ts';
import { createClient } from '#sidecar/rpc/client.ts';
import type { Handlers, RpcClient } from '#sidecar/rpc/handlers.ts';
import type { Certificate, ChannelSecurity } from '#sidecar/rpc/security.ts';
import { RpcServer } from '#sidecar/rpc/server.ts';
import { createAuthority, type TestAuthority } from '#test/support/rpc/certificates.ts';
import { EchoService } from '#test/support/rpc/echo.ts';
import { serve } from '#test/support/rpc/serving.ts';

/** Answers with who asked. */
const handlers: Handlers<typeof EchoService> = {
  one: async (_, context) => ({ text: JSON.stringify([context.peerAddress, context.bearer]) }),
  many: async function* () {},
  collect: async () => ({}),
  talk: async function* () {},
};

async function serveTls(authority: TestAuthority): Promise<{ port: number; replace: (next: Certificate) => void }> {
  const server = new RpcServer({ clock: systemClock, log: createLog('silent') });
  onTestFinished(() => server[Symbol.asyncDispose]());
  server.add(EchoService, handlers);
  let current = await authority.issue(['edge.test'], '0a');
  const listeners = new Set<() => void>();
  const port = await server.listen('127.0.0.1:0', {
    kind: 'tls',
    certificates: {
      get current() {
        return current;
      },
      watch: (listener) => {
        listeners.add(listener);
        return { [Symbol.dispose]: () => listeners.delete(listener) };
      },
    },
  });
  const replace = (next: Certificate): void => {
    current = next;
    for (const listener of listeners) listener();
  };
  return { port, replace };
}

function clientOf(port: number, security: ChannelSecurity): RpcClient<typeof EchoService> {
  const channel = new Channel({ address: `127.0.0.1:${port}`, security, clock: systemClock });
  onTestFinished(() => channel[Symbol.dispose]());
  return createClient(EchoService, channel);
}

function serialSeen(port: number, caPem: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const options = { port, host: '127.0.0.1', ca: caPem, servername: 'edge.test', ALPNProtocols: ['h2'] };
    const socket = connect(options, () => {
      resolve(socket.getPeerCertificate().serialNumber);
      socket.destroy();
    });
    socket.on('error', reject);
  });
}

test('a client that trusts the authority is served over TLS', async () => {
  const authority = await createAuthority('ours');
  const { port } = await serveTls(authority);
  const client = clientOf(port, { kind: 'tls', caPem: authority.caPem, serverName: 'edge.test' });
  expect((await client.one({}, { bearer: 'abc' })).text).toBe('["127.0.0.1","abc"]');
});

test('a certificate of a foreign authority is refused by the client', async () => {
  const { port } = await serveTls(await createAuthority('ours'));
  const foreign = await createAuthority('theirs');
  const client = clientOf(port, { kind: 'tls', caPem: foreign.caPem, serverName: 'edge.test' });
  await expect(client.one({})).rejects.toMatchObject({ code: 'unavailable' });
});

test('a certificate for another name is refused by the client', async () => {
  const authority = await createAuthority('ours');
  const { port } = await serveTls(authority);
  const client = clientOf(port, { kind: 'tls', caPem: authority.caPem, serverName: 'other.test' });
  await expect(client.one({})).rejects.toMatchObject({ code: 'unavailable' });
});

test('a replaced certificate is shown to new connections while old ones go on', async () => {
  const authority = await createAuthority('ours');
  const { port, replace } = await serveTls(authority);
  const client = clientOf(port, { kind: 'tls', caPem: authority.caPem, serverName: 'edge.test' });
  await client.one({});
  expect(await serialSeen(port, authority.caPem)).toBe('0A');
  replace(await authority.issue(['edge.test'], '0b'));
  expect(await serialSeen(port, authority.caPem)).toBe('0B');
  expect((await client.one({})).text).toContain('127.0.0.1');
});

test('plain text is neither served nor called off this machine', async () => {
  const server = new RpcServer({ clock: systemClock, log: createLog('silent') });
  await expect(server.listen('0.0.0.0:0', { kind: 'plain' })).rejects.toMatchObject({ code: 'invalid' });
  await expect(server.listen('[::]:0', { kind: 'plain' })).rejects.toMatchObject({ code: 'invalid' });
  const open = (): Channel => new Channel({ address: '10.0.0.1:1', security: { kind: 'plain' }, clock: systemClock });
  expect(open).toThrow('must be served and called with TLS');
});

test('a Unix socket serves; its peer has no address', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'rpc-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  const { client } = await serve(EchoService, handlers, { address: `unix:${folder}/s.sock` });
  expect((await client.one({})).text).toBe('[null,null]');
});

test('an address in use is reported as unavailable', async () => {
  const { address } = await serve(EchoService, handlers);
  const second = new RpcServer({ clock: systemClock, log: createLog('silent') });
  onTestFinished(() => second[Symbol.asyncDispose]());
  await expect(second.listen(address, { kind: 'plain' })).rejects.toMatchObject({ code: 'unavailable' });
});
