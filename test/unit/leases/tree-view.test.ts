import { expect, test } from 'vitest';
import { TreeView } from '#sidecar/leases/tree-view.ts';

const at = (monotonicMs: number) => ({ monotonicMs, wallMs: monotonicMs });

test('T2 an answer that a later one overtook teaches nothing of the server’s clock', () => {
  const view = new TreeView();
  view.learn(at(2000), { serverNowMs: 52_000, epoch: 1 });
  view.learn(at(1000), { serverNowMs: 51_000, epoch: 1 });
  expect(view.sync).toMatchObject({ askedAtMs: 2000, serverNowMs: 52_000 });
});

test('W2 an answer of a memory that Redis has lost since teaches nothing', () => {
  const view = new TreeView();
  view.moved(2);
  view.learn(at(1000), { serverNowMs: 51_000, epoch: 1 });
  expect(view).toMatchObject({ epoch: 2, sync: null });
});
