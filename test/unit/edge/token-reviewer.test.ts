import { expect, test } from 'vitest';
import { reviewedPod, tokenReviewer } from '#operator/edge/token-reviewer.ts';
import type { KubeIntent, KubeObject } from '#operator/runtime/resources.ts';

const good = {
  authenticated: true,
  audiences: ['glmquota'],
  user: {
    username: 'system:serviceaccount:team-a:runner',
    extra: { 'authentication.kubernetes.io/pod-name': ['agent-1'], 'authentication.kubernetes.io/pod-uid': ['u-1'] },
  },
};

test('an authenticated token of a pod names namespace, service account, pod and uid', () => {
  expect(reviewedPod(good)).toEqual({ namespace: 'team-a', serviceAccount: 'runner', name: 'agent-1', uid: 'u-1' });
});

test.each<[string, object]>([
  ['is not authenticated', { authenticated: false }],
  ['says nothing of it', { authenticated: undefined }],
  ['is for another audience', { audiences: ['https://kubernetes.default.svc'] }],
  ['names no audience', { audiences: undefined }],
  ['is a person', { user: { ...good.user, username: 'jane' } }],
  ['is bound to no pod', { user: { username: good.user.username } }],
  ['is bound to a node', { user: { ...good.user, extra: { 'authentication.kubernetes.io/node-name': ['n'] } } }],
])('a token that %s is nobody', (_, change) => {
  expect(reviewedPod({ ...good, ...change })).toBeNull();
});

test('the review asks for our audience', async () => {
  const sent: KubeIntent[] = [];
  const client = {
    create: async (_: unknown, object: KubeIntent) => {
      sent.push(object);
      return { status: good } as unknown as KubeObject;
    },
  };
  expect(await tokenReviewer(client).review('t', new AbortController().signal)).toMatchObject({ name: 'agent-1' });
  expect(sent[0]).toMatchObject({ kind: 'TokenReview', spec: { token: 't', audiences: ['glmquota'] } });
});
