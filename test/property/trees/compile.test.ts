import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { GlmQuota } from '#operator/api/v1alpha1/glmquota.ts';
import { createCalendar } from '#operator/trees/calendar.ts';
import { compileTrees } from '#operator/trees/compile.ts';
import type { CompileInput } from '#operator/trees/terms.ts';
import { validateTree } from '#sidecar/engine/tree-bounds.ts';
import type { NodeConfig, TreeConfig } from '#sidecar/engine/tree-terms.ts';
import { account, inForce, quota, world } from '#test/unit/trees/world.ts';

/** Worlds of one plan account, one bare account and up to twelve quotas that name parents at random, good or bad. */
const NAMES = Array.from({ length: 12 }, (_, index) => `q${index}`);

const percent = fc.nat(120).map((each) => `${each % 101}%`);
const limit = fc.oneof(
  fc.record(
    { name: fc.constantFrom('five-hour', 'own'), amount: percent, guaranteed: percent },
    { requiredKeys: ['name', 'amount'] },
  ),
  fc.record({
    name: fc.constantFrom('own', 'day'),
    amount: fc.nat(1000),
    resource: fc.constantFrom('Requests', 'Tokens'),
    window: fc.constantFrom(
      { type: 'Sliding', duration: '1m' },
      { type: 'Fixed', duration: '1h' },
      { type: 'Calendar', period: 'Day', timeZone: 'Europe/Paris' },
    ),
  }),
);
const parent = fc.oneof(
  fc.constantFrom({ accountRef: { name: 'max' } }, { accountRef: { name: 'bare' } }, { accountRef: { name: 'gone' } }),
  fc.constantFrom(...NAMES).map((name) => ({ parentRef: { name } })),
);
/** Scope nodes keep nothing free; the parser refuses it. */
function unguaranteed<T extends object>(each: T): object {
  const { guaranteed: _none, ...rest } = each as T & { guaranteed?: unknown };
  return rest;
}

const kind = fc.oneof(
  fc.record({ match: fc.constantFrom({ models: ['glm-5.3'] }, { tools: ['search'] }, { models: ['glm-9'] }) }),
  fc.record(
    {
      weight: fc.integer({ min: 1, max: 12 }),
      priority: fc.constantFrom({ max: 'System' }, { max: 'Low' }),
      waiting: fc.constantFrom({ maxLength: 3 }, { mode: 'Reject' }),
    },
    { requiredKeys: [] },
  ),
);
const extras = fc.record(
  {
    stop: fc.constantFrom(
      { policy: 'Hold' },
      { policy: 'None' },
      { policy: 'HoldAndDrain', until: '2026-12-01T00:00:00Z' },
    ),
    schedules: fc.constantFrom(
      [{ name: 'night', from: '22:00', to: '06:00' }],
      [{ name: 'dear', when: 'VendorOffPeak' }],
    ),
    alerts: fc.constantFrom({ thresholdsPercent: [50] }),
    concurrency: fc.constantFrom({ max: 2 }, { mode: 'Adaptive', max: 4 }),
  },
  { requiredKeys: [] },
);
const spec = fc
  .tuple(parent, fc.uniqueArray(limit, { selector: ({ name }) => name, maxLength: 3 }), kind, extras)
  .map(([ref, limits, own, rest]) => ({
    ...ref,
    limits: 'match' in own ? limits.map(unguaranteed) : limits,
    ...own,
    ...rest,
  }));
const quotas: fc.Arbitrary<GlmQuota[]> = fc
  .dictionary(fc.constantFrom(...NAMES), spec, { maxKeys: NAMES.length })
  .map((specs) =>
    Object.entries(specs)
      .filter(([name, each]) => !('parentRef' in each && each.parentRef.name === name))
      .map(([name, each]) => quota(`glm/${name}`, each)),
  );

const calendar = createCalendar();
const accounts = [account('max', { plan: { name: 'Max', generation: 'Credits' } }), account('bare')];
const compile = (parts: Partial<CompileInput>) => compileTrees(world({ accounts, calendar, ...parts }));

type Seen = ReadonlyMap<string, NodeConfig>;

function wrong({ nodes }: TreeConfig): string[] {
  const seen = new Map<string, NodeConfig>();
  return nodes.flatMap((node, index) => {
    const problems = [...wrongPlace(node, index, seen), ...node.limits.flatMap((each) => wrongLimit(node, each, seen))];
    seen.set(node.name, node);
    return problems;
  });
}

function wrongPlace({ name, parent, scope }: NodeConfig, index: number, seen: Seen): string[] {
  const above = seen.get(parent ?? '');
  const isAstray = index === 0 ? parent !== null : above === undefined;
  return [
    ...(seen.has(name) ? [`${name} twice`] : []),
    ...(isAstray ? [`${name} before its parent`] : []),
    ...(above?.scope && scope === null ? [`${name} has pods below a scope node`] : []),
  ];
}

function wrongLimit({ name: node }: NodeConfig, limit: NodeConfig['limits'][number], seen: Seen): string[] {
  const { name, windowOwner, amount, guaranteed = 0 } = limit;
  if (guaranteed > amount) return [`${node}: more of ${name} guaranteed than given`];
  if (windowOwner === undefined) return guaranteed > 0 ? [`${node}: ${name} guaranteed of nothing`] : [];
  const owner = seen.get(windowOwner)?.limits.find((each) => each.name === name);
  if (!owner) return [`${node}: ${windowOwner} has no ${name}`];
  return owner.windowOwner === undefined ? [] : [`${node}: ${windowOwner} does not own ${name}`];
}

test('whatever quotas say, a tree is sound: parents first, windows owned by ancestors, good for the engine', () => {
  fc.assert(
    fc.property(quotas, quotas, (before, after) => {
      const previous = inForce(compile({ quotas: before }));
      const compiled = compile({ quotas: after, previous });
      for (const { tree } of compiled.accounts.values()) {
        expect(wrong(tree!)).toEqual([]);
        validateTree(tree!);
      }
    }),
    { numRuns: 1000 },
  );
});

test('the order of objects makes no difference', () => {
  fc.assert(
    fc.property(
      quotas.chain((each) => fc.tuple(fc.constant(each), fc.shuffledSubarray(each, { minLength: each.length }))),
      ([ordered, shuffled]) => {
        expect(JSON.stringify(shownOf(compile({ quotas: shuffled, accounts: accounts.toReversed() })))).toBe(
          JSON.stringify(shownOf(compile({ quotas: ordered }))),
        );
      },
    ),
    { numRuns: 500 },
  );
});

function shownOf(compiled: ReturnType<typeof compileTrees>) {
  return { accounts: [...compiled.accounts], quotas: [...compiled.quotas] };
}

test('what was in force stays in force: a quota that still exists never loses its node, good spec or bad', () => {
  fc.assert(
    fc.property(quotas, quotas, (before, after) => {
      const first = compile({ quotas: before });
      const second = compile({ quotas: after, previous: inForce(first) });
      const lost = [...second.quotas].filter(
        ([id, { account: home }]) => home === null && first.quotas.get(id)?.account,
      );
      expect(lost).toEqual([]);
    }),
    { numRuns: 1000 },
  );
});

test('an active quota is in its tree under the parent it names', () => {
  fc.assert(
    fc.property(quotas, quotas, (before, after) => {
      const compiled = compile({ quotas: after, previous: inForce(compile({ quotas: before })) });
      const misplaced = after.filter((each) => {
        const { verdict, path } = compiled.quotas.get(`glm/${each.metadata.name}`)!;
        const { kind, name } = each.spec.parent;
        const above = kind === 'account' ? 'account' : `quota:glm/${name}`;
        return verdict.active && (path[1] !== above || path.at(-1) !== 'account');
      });
      expect(misplaced).toEqual([]);
    }),
    { numRuns: 500 },
  );
});

test('compiling again what is in force changes nothing', () => {
  fc.assert(
    fc.property(quotas, quotas, (before, after) => {
      const once = compile({ quotas: after, previous: inForce(compile({ quotas: before })) });
      const twice = compile({ quotas: after, previous: inForce(once) });
      expect([...inForce(twice)]).toEqual([...inForce(once)]);
    }),
    { numRuns: 500 },
  );
});
