/** Fairness of the waiting room, as the model defines it (rules Q1, Q2, Q5, Q8). No Redis. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ENGINE_CONSTANTS } from '#sidecar/engine/constants.ts';
import type { PriorityClass } from '#sidecar/engine/tree-terms.ts';
import { limit, node, NOTHING, ONE } from '#test/support/engine.ts';
import { Backlog, tally, type Stream } from './backlog.ts';
import { runParameters } from './seed.ts';
import { ends, from, GRANTS, of, shareError, slots, streams, weighted, WEIGHTS } from './shares.ts';

test('Q2 shares of a full account are 8:2:1 by weight, within 2 %', () => {
  fc.assert(
    fc.property(slots, ends, fc.integer({ min: 1, max: 6 }), (concurrency, order, depth) => {
      const backlog = new Backlog([node('account', null, { concurrency }), ...weighted('account')]);
      backlog.run(streams, depth, order);
      expect(shareError(backlog.granted, WEIGHTS)).toBeLessThanOrEqual(0.02);
    }),
    runParameters(12),
  );
});

test('Q2 shares are 8:2:1 behind a full inner node too, whether the account is full as well or not', () => {
  const shape = fc.record({ slots, others: fc.integer({ min: 1, max: 3 }), slack: fc.integer({ min: -1, max: 2 }) });
  fc.assert(
    fc.property(shape, ends, fc.integer({ min: 1, max: 4 }), (the, order, depth) => {
      const backlog = new Backlog([
        node('account', null, { concurrency: the.slots + the.others + the.slack }),
        of('team', 'account', { concurrency: the.slots }),
        of('others', 'account', { concurrency: the.others }),
        ...weighted('quota:a/team'),
      ]);
      backlog.run([...streams, from('others')], depth, order);
      expect(shareError(backlog.granted, WEIGHTS)).toBeLessThanOrEqual(0.02);
    }),
    runParameters(16),
  );
});

test('Q2 shares are 8:2:1 behind a window that calls leave again as fast as they came', () => {
  fc.assert(
    fc.property(slots, ends, (most, order) => {
      const window = { type: 'Fixed', durationMs: 86_400_000 } as const;
      const limits = [limit('tokens', most, { resource: 'OutputTokens', window })];
      const backlog = new Backlog([
        node('account', null),
        of('team', 'account', { limits }),
        ...weighted('quota:a/team'),
      ]);
      const reserve = { ...NOTHING, outputTokens: 1 };
      backlog.run(
        streams.map(({ name, call }) => ({ name, call: { ...call, reserve } })),
        4,
        order,
      );
      expect(backlog.granted.length).toBeGreaterThan(GRANTS / 2);
      expect(shareError(backlog.granted, WEIGHTS)).toBeLessThanOrEqual(0.02);
    }),
    runParameters(8),
  );
});

test('Q8 shares of the classes below System are 4:2:1, within 2 %', () => {
  const classes = { High: 4, Normal: 2, Low: 1 } as const;
  fc.assert(
    fc.property(slots, ends, (concurrency, order) => {
      const backlog = new Backlog([node('account', null, { concurrency })]);
      const all = (['High', 'Normal', 'Low'] as const).map((name) => from(name, { leaf: 'account', class: name }));
      backlog.run(all, 3, order);
      expect(shareError(backlog.granted, classes)).toBeLessThanOrEqual(0.02);
    }),
    runParameters(12),
  );
});

test('Q2 the head of a flow is passed by another flow no more often than their weights say, and once', () => {
  const weights = fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 2, maxLength: 6 });
  fc.assert(
    fc.property(slots, weights, ends, (c, all, order) => {
      const names = all.map((_, index) => `flow-${index}`);
      const nodes = names.map((name, index) => of(name, 'account', { weight: all[index]! }));
      const backlog = new Backlog([node('account', null, { concurrency: c }), ...nodes]);
      backlog.run(
        names.map((name) => from(name)),
        2,
        order.slice(0, 300),
      );
      const served = backlog.granted.slice(c * all.length);
      for (const [index, name] of names.entries()) {
        let passed = new Map<string, number>();
        for (const each of served) {
          if (each === name) passed = new Map();
          else passed.set(each, (passed.get(each) ?? 0) + 1);
          const other = names.indexOf(each);
          const most = Math.ceil(all[other]! / all[index]!) + 1;
          expect(passed.get(each) ?? 0).toBeLessThanOrEqual(most);
        }
      }
    }),
    runParameters(60),
  );
});

test('Q1 owners of one flow take turns, however many calls each has waiting', () => {
  const depths = fc.tuple(
    fc.integer({ min: 1, max: 9 }),
    fc.integer({ min: 1, max: 9 }),
    fc.integer({ min: 1, max: 9 }),
  );
  fc.assert(
    fc.property(slots, depths, ends, (c, counts, order) => {
      const backlog = new Backlog([node('account', null, { concurrency: c }), of('team', 'account')]);
      const owners = counts.map((_, index) => `pod-${index}`);
      const streamOf = (owner: string): Stream => ({
        name: owner,
        call: { leaf: 'quota:a/team', owner: `${owner}/1` },
      });
      for (const [index, owner] of owners.entries())
        for (let count = 0; count < counts[index]! + c; count += 1) backlog.ask(streamOf(owner));
      const before = backlog.granted.length;
      backlog.run(owners.map(streamOf), 1, order.slice(0, 120));
      const served = backlog.granted.slice(before);
      for (let end = 1; end <= served.length; end += 1) {
        const got = owners.map((owner) => tally(served.slice(0, end)).get(owner) ?? 0);
        expect(Math.max(...got) - Math.min(...got)).toBeLessThanOrEqual(1);
      }
    }),
    runParameters(60),
  );
});

test('Q1 calls of one owner and kind are granted in the order they came', () => {
  const steps = fc.array(fc.record({ ask: fc.nat({ max: 5 }), end: fc.option(fc.nat({ max: 7 })) }), {
    maxLength: 120,
  });
  fc.assert(
    fc.property(slots, steps, (concurrency, all) => {
      const backlog = new Backlog([
        node('account', null, { concurrency }),
        of('team', 'account'),
        of('other', 'account'),
      ]);
      const asked = new Map<string, string[]>();
      for (const { ask, end } of all) {
        const leaf = ask % 2 === 0 ? 'team' : 'other';
        const name = `${leaf} ${ask % 3}`;
        const id = backlog.ask({ name, call: { leaf: `quota:a/${leaf}`, owner: `pod-${ask % 3}/1` } });
        asked.set(name, [...(asked.get(name) ?? []), id]);
        if (end !== null) backlog.end(end);
      }
      for (const [name, ids] of asked) {
        const served = backlog.grantedIds.filter((id) => backlog.nameOf(id) === name);
        expect(served).toEqual(ids.slice(0, served.length));
      }
    }),
    runParameters(200),
  );
});

const all: readonly PriorityClass[] = ['System', 'High', 'Normal', 'Low'];
const byClass = (name: PriorityClass): Stream => from(name, { leaf: 'account', class: name });

test('Q8 class System holds no more than half of the slots, and these when nobody else is there', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 2, max: 7 }),
      fc.constantFrom(all, all.slice(0, 1)),
      ends,
      (concurrency, wanted, order) => {
        const backlog = new Backlog([node('account', null, { concurrency })]);
        const most = Math.max(1, Math.floor(concurrency / 2));
        for (const index of order.slice(0, 200)) {
          backlog.run(wanted.map(byClass), 2, [index]);
          const system = backlog.inFlight.filter((id) => backlog.nameOf(id) === 'System').length;
          expect(system).toBeLessThanOrEqual(most);
          expect(system).toBeGreaterThanOrEqual(wanted.length === 1 ? most : 0);
        }
      },
    ),
    runParameters(30),
  );
});

test('Q8 with one slot class System gets no two grants in a row while others can use it', () => {
  fc.assert(
    fc.property(ends, (order) => {
      const backlog = new Backlog([node('account', null, { concurrency: 1 })]);
      backlog.run(all.map(byClass), 2, order.slice(0, 200));
      const served = backlog.granted.slice(2);
      const twice = served.filter((name, index) => name === 'System' && served[index + 1] === name);
      expect(twice).toEqual([]);
    }),
    runParameters(20),
  );
});

test('Q8 with one slot class System gets it when all others wait for something else', () => {
  const stuck = of('stuck', 'account', { concurrency: 0 });
  const backlog = new Backlog([node('account', null, { concurrency: 1 }), stuck]);
  backlog.run(
    [byClass('System'), from('stuck')],
    2,
    Array.from({ length: 50 }, () => 0),
  );
  expect(backlog.granted).toEqual(Array.from({ length: 51 }, () => 'System'));
});

test('Q5 a call that needs a whole window is passed a bounded number of times by small ones', () => {
  fc.assert(
    fc.property(fc.integer({ min: 2, max: 6 }), ends, (most, order) => {
      const limits = [
        limit('tokens', most, { resource: 'Tokens', window: { type: 'Sliding', durationMs: 86_400_000 } }),
      ];
      const backlog = new Backlog([
        node('account', null),
        of('team', 'account', { limits }),
        ...weighted('quota:a/team'),
      ]);
      const small = streams.map(({ name, call }) => ({ name, call: { ...call, reserve: { ...ONE, inputTokens: 1 } } }));
      const fill = (): void => {
        for (const stream of small) while (backlog.waiting(stream.name) < 2) backlog.ask(stream);
      };
      fill();
      backlog.ask({
        name: 'big',
        call: { leaf: 'quota:a/light', owner: 'pod-big/1', flowKey: 'big', reserve: { ...ONE, inputTokens: most } },
      });
      const before = backlog.granted.length;
      for (const index of order) {
        fill();
        if (!backlog.end(index, 'rejected') || backlog.granted.includes('big')) break;
      }
      expect(backlog.granted.slice(before)).toContain('big');
      expect(backlog.granted.slice(before).indexOf('big')).toBeLessThanOrEqual(
        2 * ENGINE_CONSTANTS.GUARD_BYPASS + most,
      );
    }),
    runParameters(30),
  );
});
