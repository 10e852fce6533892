import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { Agent, request } from 'node:https';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, expect, onTestFinished, test } from 'vitest';
import { SimulatorControl } from '#test/support/glm-simulator/control.ts';
import { startSimulator } from '#test/support/glm-simulator/simulator.ts';
import type { FaultAction } from '#test/support/glm-simulator/terms.ts';
import { codeOf, Fixture, KEY, question } from './fixture.ts';

const CHAT = '/api/coding/paas/v4/chat/completions';
const folder = mkdtempSync(join(tmpdir(), 'glm-simulator-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** Files of a certificate for 127.0.0.1 and its key. */
function certificate(): { cert: string; key: string } {
  const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')];
  if (existsSync(cert)) return { cert, key };
  const subject = ['-subj', '/CN=vendor', '-addext', 'subjectAltName=IP:127.0.0.1'];
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  execFileSync('openssl', ['req', '-x509', ...curve, '-keyout', key, '-out', cert, '-days', '2', ...subject], {
    stdio: 'pipe',
  });
  return { cert, key };
}

interface SecureCall {
  url: string;
  key: string;
  text?: string;
  agent?: Agent;
}

/** Status of one streamed chat call over TLS. */
async function callSecurely({ url, key, text = 'hi', agent }: SecureCall): Promise<number | undefined> {
  return await new Promise((done, failed) => {
    const headers = { authorization: `Bearer ${key}` };
    const ca = readFileSync(certificate().cert);
    const sent = request(url, { ca, method: 'POST', headers, agent: agent ?? false }, (response) => {
      response.resume().once('end', () => done(response.statusCode));
    });
    sent.once('error', failed).end(JSON.stringify(question(text, { stream: true })));
  });
}

/** The simulator as a process of its own, and where it listens. */
async function spawnSimulator(...flags: string[]): Promise<{ child: ChildProcess; url: string; controlUrl: string }> {
  const main = resolve(import.meta.dirname, '../../support/glm-simulator/main.ts');
  const child = spawn(process.execPath, [main, ...flags], { stdio: ['ignore', 'pipe', 'inherit'] });
  onTestFinished(() => void child.kill('SIGKILL'));
  return { child, ...(JSON.parse(await firstLine(child)) as { url: string; controlUrl: string }) };
}

test('accounts are made, changed and removed while the vendor runs', async () => {
  await using fixture = await Fixture.start();
  const { control } = fixture;
  const path = '/api/coding/paas/v4/chat/completions';
  const asOther = async (): Promise<string | undefined> =>
    await codeOf(await fixture.post(path, question(), { authorization: 'Bearer other.key' }));
  expect(await asOther()).toBe('1002');
  await control.putAccount({ id: 'b', keys: ['other.key'], plan: 'lite-v3' });
  expect(await asOther()).toBeUndefined();
  await control.patchAccount('b', { planExpired: true });
  expect(await asOther()).toBe('1309');
  expect((await control.accounts()).map(({ id }) => id)).toEqual(['a', 'b']);
  await control.removeAccount('b');
  expect(await asOther()).toBe('1002');
  await expect(control.putAccount({ id: 'c', keys: ['k'], plan: 'gigantic' })).rejects.toThrow(
    'account.plan must be one of lite-v1',
  );
});

test('usage goes on when a window is enlarged, and the report can be forgotten alone', async () => {
  const window = { name: 'w', resource: 'Prompts', amount: 1, durationMs: 60_000 } as const;
  await using fixture = await Fixture.start({ windows: [window] });
  await fixture.chat();
  expect(await codeOf(await fixture.chat())).toBe('1308');
  await fixture.control.patchAccount('a', { windows: [{ ...window, amount: 3 }] });
  await fixture.control.resetReport();
  await fixture.chat();
  const report = await fixture.control.report();
  expect(report).toMatchObject({ calls: 1, refused: {}, overAdmission: { windowCalls: 0 } });
  expect(report.accounts['a']?.windows['w']).toMatchObject({ used: 2, amount: 3, refused: 0 });
});

test('each call is on record with its bill, found by the id the client gave', async () => {
  await using fixture = await Fixture.start();
  await fixture.chat('[[sim prompt=1000000 tokens=10]]', { request_id: 'mine-1' });
  await fixture.chat('hi');
  const [call, ...rest] = await fixture.control.calls({ clientId: 'mine-1' });
  expect(rest).toEqual([]);
  expect(call).toMatchObject({
    account: 'a',
    key: KEY,
    model: 'glm-5.3',
    ending: 'Completed',
    tokens: { input: 1_000_000, output: 10 },
    nanoCredits: 345_012_000_000,
    nanoUsd: 1_400_044_000,
  });
  expect(call?.endMs).toBeGreaterThan(call?.startMs ?? 0);
});

test('the clock runs, stops, jumps and runs on', async () => {
  await using fixture = await Fixture.start();
  const { control } = fixture;
  expect(await control.clock({ mode: 'Manual', nowMs: 1000 })).toEqual({ mode: 'Manual', nowMs: 1000 });
  expect(await control.clock({ advanceMs: 500 })).toEqual({ mode: 'Manual', nowMs: 1500 });
  const running = await control.clock({ mode: 'System' });
  expect(running.nowMs).toBeGreaterThanOrEqual(1500);
  expect((await control.clock()).nowMs).toBeGreaterThanOrEqual(running.nowMs);
});

test('the control client says what was wrong', async () => {
  await using fixture = await Fixture.start();
  await expect(fixture.control.setWindow('a', 'none', {})).rejects.toThrow('no window none');
  await expect(fixture.control.patchAccount('nobody', {})).rejects.toThrow('no account nobody');
});

test('a misspelt knob, fault or directive is refused, not ignored', async () => {
  await using fixture = await Fixture.start();
  const misspelt = { stream: { framming: 'Cut' } } as object;
  await expect(fixture.control.knobs(misspelt)).rejects.toThrow('knobs.stream: unknown framming');
  const action = { type: 'Resett' } as unknown as FaultAction;
  await expect(fixture.control.addFault({ action })).rejects.toThrow('fault.action.type must be one of Code');
  const body = (await (await fixture.chat('[[sim token=5]]')).json()) as object;
  expect(body).toEqual({ error: { code: '1210', message: 'simulator: cannot read token=5' } });
});

test('with a certificate the vendor speaks HTTPS, and control stays plain and apart', async () => {
  const tls = { cert: readFileSync(certificate().cert, 'utf8'), key: readFileSync(certificate().key, 'utf8') };
  await using simulator = await startSimulator({ tls });
  expect(simulator.url).toMatch(/^https:/);
  const key = 'sim-key.sim-secret';
  const chat = `${simulator.url}${CHAT}`;
  expect(await callSecurely({ url: chat, key })).toBe(200);
  expect(await callSecurely({ url: `${simulator.url}/__sim/report`, key })).toBe(500);
  const { calls } = await new SimulatorControl(simulator.controlUrl).report();
  expect(calls).toBe(1);
});

test('over TLS, too, calls that follow one another over several connections are no excess', async () => {
  const config = join(folder, 'single.yaml');
  writeFileSync(config, 'accounts: [{ id: a, keys: [tls.key], concurrency: { default: 1 } }]');
  const { cert, key } = certificate();
  const { url, controlUrl } = await spawnSimulator('--config', config, '--cert', cert, '--key', key);
  const agents = [new Agent({ keepAlive: true }), new Agent({ keepAlive: true })];
  for (let call = 0; call < 400; call += 1) {
    const agent = agents[call % 2] ?? false;
    const text = `[[sim chunk=100 tokens=${call % 2 === 0 ? 6000 : 8} ms=${call % 40 === 0 ? 2 : 0}]]`;
    expect(await callSecurely({ url: url + CHAT, key: 'tls.key', text, ...(agent ? { agent } : {}) })).toBe(200);
  }
  for (const agent of agents) agent.destroy();
  expect(await new SimulatorControl(controlUrl).report()).toMatchObject({
    accepted: 400,
    overAdmission: { concurrency: 0, maxExcess: 0 },
  });
});

/** The first line a process prints. */
async function firstLine(child: ChildProcess): Promise<string> {
  if (!child.stdout) throw new Error('no stdout');
  for await (const line of createInterface(child.stdout)) return line;
  throw new Error('it ended without a word');
}

test('as a process it reads YAML, says where it listens, and ends on SIGTERM', async () => {
  const config = join(folder, 'sim.yaml');
  writeFileSync(
    config,
    `clock: { mode: Manual, nowMs: 1795000000000 }
accounts:
  - id: small
    keys: [yaml.key]
    concurrency: { default: 1 }
    windows: [{ name: burst, resource: Prompts, amount: 1, durationMs: 20000 }]
`,
  );
  const ready = await spawnSimulator('--config', config);
  const control = new SimulatorControl(ready.controlUrl);
  expect(await control.clock()).toEqual({ mode: 'Manual', nowMs: 1_795_000_000_000 });
  const call = async (): Promise<Response> =>
    await fetch(`${ready.url}${CHAT}`, {
      method: 'POST',
      headers: { authorization: 'Bearer yaml.key' },
      body: JSON.stringify(question()),
    });
  expect((await call()).status).toBe(200);
  expect(await codeOf(await call())).toBe('1308');
  const ended = new Promise((done) => ready.child.once('exit', done));
  ready.child.kill('SIGTERM');
  expect(await ended).toBe(0);
});
