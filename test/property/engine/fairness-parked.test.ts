/** Fairness among those who are parked, as the model defines it (rules Q1, Q2). No Redis. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { node } from '#test/support/engine.ts';
import { Backlog } from './backlog.ts';
import { runParameters } from './seed.ts';
import { ends, from, of, shareError, slots, streams, weighted, WEIGHTS } from './shares.ts';

const HOUR_MS = 3_600_000;

test('Q1, Q2 a caller that varies its attributes has no more than its share behind a full inner node', () => {
  const shape = fc.record({ slots, slack: fc.integer({ min: 0, max: 2 }), kinds: fc.integer({ min: 2, max: 12 }) });
  fc.assert(
    fc.property(shape, ends, fc.integer({ min: 1, max: 3 }), (the, order, depth) => {
      const backlog = new Backlog([
        node('account', null, { concurrency: the.slots + the.slack + 1 }),
        of('team', 'account', { concurrency: the.slots }),
        of('varied', 'quota:a/team'),
        of('plain', 'quota:a/team'),
        of('others', 'account'),
      ]);
      const varied = Array.from({ length: the.kinds }, (_, kind) => ({
        ...from('varied', { attributes: { user: `user-${kind}` } }),
        name: `varied ${kind}`,
      }));
      backlog.run([...varied, from('plain'), from('others')], depth, order);
      const shares = backlog.granted.map((name) => name.split(' ')[0]!);
      expect(shareError(shares, { varied: 1, plain: 1 })).toBeLessThanOrEqual(0.02);
    }),
    runParameters(10),
  );
});

test('Q2 who comes back from a freeze has its share from then on, and nothing for the time before', () => {
  const shape = fc.record({ slots, inner: fc.boolean(), frozen: fc.constantFrom('heavy', 'middle', 'light') });
  fc.assert(
    fc.property(shape, ends, fc.integer({ min: 1, max: 4 }), (the, order, depth) => {
      const backlog = new Backlog([
        node('account', null, { concurrency: the.inner ? 9 : the.slots }),
        of('team', 'account', { concurrency: the.inner ? the.slots : null }),
        ...weighted('quota:a/team'),
      ]);
      const frozen = `quota:a/${the.frozen}`;
      backlog.run(streams, depth, order.slice(0, 200));
      backlog.model.freeze(frozen, backlog.model.tree.now.wallMs + HOUR_MS);
      backlog.run(streams, depth, order.slice(200, 400));
      backlog.model.freeze(frozen, null);
      const before = backlog.granted.length;
      backlog.run(streams, depth, order.slice(400));
      expect(shareError(backlog.granted.slice(before), WEIGHTS)).toBeLessThanOrEqual(0.02);
    }),
    runParameters(16),
  );
});
