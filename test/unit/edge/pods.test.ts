import { expect, test } from 'vitest';
import { assertCaller, assertReviewed, assertSidecar } from '#operator/edge/pod-checks.ts';
import { repositoryOf } from '#operator/edge/images.ts';
import { podSource, projectPod } from '#operator/edge/pods.ts';
import { TOKEN_AUDIENCE } from '#operator/edge/claims.ts';
import type { PodFacts } from '#operator/edge/terms.ts';
import { BINDING_VARIABLE, SIDECAR_NAME } from '#operator/trees/sidecar-facts.ts';
import { Store } from '#operator/runtime/store.ts';
import * as injector from '#operator/webhook/sidecar-container.ts';
import { createLog } from '#sidecar/base/log.ts';
import { agentPod, IMAGE } from '#test/support/edge/pods.ts';

const claims = { pod: { namespace: 'team-a', name: 'agent-1', uid: 'uid-agent-1' }, expiresAtMs: 0 };
const pod = projectPod(agentPod());

test('a pod the injector made is understood as it was meant', () => {
  expect(projectPod(agentPod({ perAgentConcurrency: 3 }))).toEqual({
    namespace: 'team-a',
    name: 'agent-1',
    uid: 'uid-agent-1',
    serviceAccount: 'default',
    addresses: ['127.0.0.1'],
    ended: false,
    sidecar: { image: IMAGE, binding: 'glm/team-a', perAgentConcurrency: 3 },
    pool: null,
  });
  expect(pod.sidecar?.perAgentConcurrency).toBeNull();
});

test('a pod of a pool is known by the label the pool gave it', () => {
  const pod = agentPod();
  const labels = { 'glmquota.io/pool': 'reviewers' };
  expect(projectPod({ ...pod, metadata: { ...pod.metadata, labels } }).pool).toBe('reviewers');
});

test('edge and injector mean the same container and audience', () => {
  expect([SIDECAR_NAME, TOKEN_AUDIENCE]).toEqual([injector.SIDECAR_NAME, injector.TOKEN_AUDIENCE]);
});

test.each<[string, object]>([
  ['is no init container', { initContainers: [] }],
  ['is not native', { initContainers: [{ name: SIDECAR_NAME, image: IMAGE }] }],
  ['has another name', { initContainers: [{ name: 'sidecar', image: IMAGE, restartPolicy: 'Always' }] }],
])('a sidecar that %s is none', (_, spec) => {
  expect(projectPod(agentPod({ spec })).sidecar).toBeNull();
});

test.each<[string, readonly object[]]>([
  ['missing', []],
  ['from elsewhere', [{ name: BINDING_VARIABLE, valueFrom: { configMapKeyRef: { name: 'mine', key: 'quota' } } }]],
  [
    'given twice',
    [
      { name: BINDING_VARIABLE, value: 'glm/a' },
      { name: BINDING_VARIABLE, value: 'glm/b' },
    ],
  ],
  ['without a namespace', [{ name: BINDING_VARIABLE, value: 'team-a' }]],
  ['empty', [{ name: BINDING_VARIABLE, value: '' }]],
])('a binding that is %s binds to nothing', (_, env) => {
  const initContainers = [{ name: SIDECAR_NAME, image: IMAGE, restartPolicy: 'Always', env }];
  const facts = projectPod(agentPod({ spec: { initContainers } }));
  expect(facts.sidecar?.binding).toBeNull();
  expect(() => assertSidecar(facts, 'uid-agent-1', IMAGE)).toThrow('names no quota');
});

test('the caller must come from its pod', () => {
  const from =
    (address: string | null, facts: PodFacts | null = pod, verify = true) =>
    () =>
      assertCaller(facts, claims, { address, verify });
  expect(from('127.0.0.1')()).toBe(pod);
  expect(from('10.0.0.9')).toThrow(expect.objectContaining({ code: 'unauthenticated' }));
  expect(from(null)).toThrow(expect.objectContaining({ code: 'unauthenticated' }));
  expect(from('10.0.0.9', pod, false)()).toBe(pod);
  expect(from('127.0.0.1', { ...pod, uid: 'its-successor' })).toThrow(
    expect.objectContaining({ code: 'unauthenticated' }),
  );
});

test('what the cache does not know yet is worth another try', () => {
  const check = (facts: PodFacts | null) => () => assertCaller(facts, claims, { address: '127.0.0.1', verify: true });
  expect(check(null)).toThrow(expect.objectContaining({ code: 'unavailable' }));
  expect(check({ ...pod, addresses: [] })).toThrow(expect.objectContaining({ code: 'unavailable' }));
});

test('an IPv6 address is the same in every spelling', () => {
  const facts = { ...pod, addresses: ['10.0.0.1', 'fd00:0:0::7'] };
  expect(assertCaller(facts, claims, { address: 'fd00::7', verify: true })).toBe(facts);
});

test.each([
  ['another name', { name: 'agent-2' }],
  ['another namespace', { namespace: 'team-b' }],
  ['another uid', { uid: 'other' }],
])('a review that tells of %s is not believed', (_, change) => {
  const reviewed = { ...claims.pod, serviceAccount: 'default' };
  expect(() => assertReviewed(reviewed, claims)).not.toThrow();
  expect(() => assertReviewed({ ...reviewed, ...change }, claims)).toThrow(
    expect.objectContaining({ code: 'unauthenticated' }),
  );
});

test.each([
  ['x', 'x'],
  ['x:1.0', 'x'],
  ['x@sha256:1', 'x'],
  ['x:1.0@sha256:1', 'x'],
  ['host/a/x:1.0', 'host/a/x'],
  ['host:5000/x', 'host:5000/x'],
  ['host:5000/x:1.0', 'host:5000/x'],
  ['host:5000/x@sha256:1', 'host:5000/x'],
  ['host:5000/x:1.0@sha256:1', 'host:5000/x'],
])('image %s is of repository %s', (image, repository) => {
  expect(repositoryOf(image)).toBe(repository);
});

function running(image: string): PodFacts {
  return { ...pod, sidecar: { image, binding: 'glm/team-a', perAgentConcurrency: null } };
}

test('after an upgrade the sidecars of the version before are still served', () => {
  const old = running('host:5000/sidecar:1.0@sha256:1');
  expect(assertSidecar(old, 'uid-agent-1', 'host:5000/sidecar:1.1@sha256:2').binding).toBe('glm/team-a');
});

test.each([
  'host:5000/other:1.0',
  'host:5001/sidecar:1.0',
  'host/sidecar:1.0',
  'sidecar:1.0',
  'host:5000/sidecar/x:1.0',
])('image %s of another repository is never served', (image) => {
  expect(() => assertSidecar(running(image), 'uid-agent-1', 'host:5000/sidecar:1.0')).toThrow(
    expect.objectContaining({ code: 'forbidden', message: expect.stringContaining(image) }),
  );
});

test('only a sidecar of ours in a living pod is served', () => {
  expect(assertSidecar(pod, 'uid-agent-1', IMAGE).binding).toBe('glm/team-a');
  expect(() => assertSidecar({ ...pod, sidecar: null }, 'uid-agent-1', IMAGE)).toThrow('has no sidecar');
  expect(() => assertSidecar({ ...pod, ended: true }, 'uid-agent-1', IMAGE)).toThrow('has ended');
  expect(() => assertSidecar(null, 'uid-agent-1', IMAGE)).toThrow('has ended');
  expect(() => assertSidecar(pod, 'another', IMAGE)).toThrow('has ended');
});

test('watchers hear of their pod only, and of its end', () => {
  const store = new Store<PodFacts>({ name: 'pods', log: createLog('silent'), project: projectPod });
  using source = podSource(store);
  let heard = 0;
  const watch = source.watch(claims.pod, () => heard++);
  store.upsert(agentPod());
  store.upsert(agentPod({ name: 'agent-2' }));
  expect([heard, source.get(claims.pod)?.uid]).toEqual([1, 'uid-agent-1']);
  store.remove(agentPod());
  expect([heard, source.get(claims.pod)]).toEqual([2, null]);
  watch[Symbol.dispose]();
  store.upsert(agentPod());
  expect(heard).toBe(2);
});
