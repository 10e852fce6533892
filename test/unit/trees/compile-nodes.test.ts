import { describe, expect, test } from 'vitest';
import { compileTrees } from '#operator/trees/compile.ts';
import { poolLabel } from '#operator/trees/names.ts';
import type { CompiledWorld, CompileInput } from '#operator/trees/terms.ts';
import { account, catalog, inForce, nodeOf, quota, world } from './world.ts';

const PLAN = { plan: { name: 'Max', generation: 'Credits' } };
const max = account('max', { ...PLAN, children: { from: 'All' } });

function compile(specs: Record<string, object>, parts: Partial<CompileInput> = {}): CompiledWorld {
  const quotas = Object.entries(specs).map(([id, spec]) =>
    quota(id, 'parentRef' in spec ? spec : { accountRef: { name: 'max', namespace: 'glm' }, ...spec }),
  );
  return compileTrees(world({ accounts: [max], quotas, ...parts }));
}

const nodeIn = (compiled: CompiledWorld, id: string) => nodeOf(compiled, 'glm/max', `quota:${id}`);
const verdictIn = (compiled: CompiledWorld, id: string) => compiled.quotas.get(id)!.verdict;

describe('scope nodes', () => {
  const scope = { match: { models: ['glm-5.3'], pools: ['reviewers', 'x'.repeat(80)], unset: 'Skip' } };

  test('carry what they match on; long names of pools as the pods’ labels have them', () => {
    const compiled = compile({ 'glm/scope': { ...scope, concurrency: { max: 1 }, enforcement: 'Observe' } });
    expect(nodeIn(compiled, 'glm/scope')).toMatchObject({
      concurrency: 1,
      observe: true,
      maxQueue: null,
      maxClass: 'System',
      scope: {
        models: ['glm-5.3'],
        tools: [],
        pools: ['reviewers', poolLabel('x'.repeat(80))],
        unset: 'Skip',
      },
    });
  });

  test('have no calls of their own', () => {
    expect(compile({ 'glm/scope': scope }).quotas.get('glm/scope')?.calls).toBeNull();
  });

  test('hang under one another, but nothing else hangs under them', () => {
    const compiled = compile({
      'glm/scope': scope,
      'glm/inner': { parentRef: { name: 'scope' }, match: { tools: ['search'] } },
      'glm/leaf': { parentRef: { name: 'scope' } },
    });
    expect(verdictIn(compiled, 'glm/inner').active).toBe(true);
    expect(verdictIn(compiled, 'glm/leaf')).toMatchObject({
      reason: 'ParentNotGranted',
      message: expect.stringContaining('counts by match') as unknown,
    });
  });

  test('that name a model nobody has say so', () => {
    const compiled = compile({ 'glm/scope': { match: { models: ['glm-5.2', 'glm-9'] } } });
    expect(verdictIn(compiled, 'glm/scope')).toMatchObject({
      reason: 'UnknownModel',
      message: expect.stringMatching(/glm-5.2 are routed to glm-5.3.*no model glm-9/) as unknown,
    });
  });

  test('share the window of the limit above and are not counted as given away', () => {
    const limits = [{ name: 'five-hour', amount: '90%' }];
    const compiled = compile({ 'glm/scope': { ...scope, limits }, 'glm/team': { limits } });
    expect(nodeIn(compiled, 'glm/scope')?.limits[0]?.windowOwner).toBe('account');
    expect(compiled.accounts.get('glm/max')?.overcommitted).toBeNull();
  });
});

describe('guarantees (N3)', () => {
  const five = (rest: object) => ({ limits: [{ name: 'five-hour', ...rest }] });

  test('are of the nearest ancestor’s amount', () => {
    const compiled = compile({ 'glm/team': five({ amount: '40%', guaranteed: '20%' }) });
    expect(nodeIn(compiled, 'glm/team')?.limits[0]).toMatchObject({
      amount: 11_200_000_000,
      guaranteed: 5_600_000_000,
      windowOwner: 'account',
    });
  });

  test('together above what there is are told on the parent', () => {
    const share = five({ amount: '60%', guaranteed: '60%' });
    const { overcommitted } = compile({ 'glm/a': share, 'glm/b': share }).accounts.get('glm/max')!;
    expect(overcommitted).toMatch(/guaranteed of limit five-hour 33600 of 28000/);
  });

  const minutes = { resource: 'Requests', window: { type: 'Sliding', duration: '1m' } };
  test.each([
    ['more than the amount', five({ amount: '10%', guaranteed: '20%' }), /more than amount/],
    [
      'of a limit nobody above has',
      {
        limits: [
          { name: 'own', amount: 5, guaranteed: 1, resource: 'Requests', window: { type: 'Fixed', duration: '1h' } },
        ],
      },
      /there is none/,
    ],
  ])('%s are InvalidLimits', (_, spec, message) => {
    const { reason, message: text } = verdictIn(compile({ 'glm/team': spec }), 'glm/team');
    expect(reason).toBe('InvalidLimits');
    expect(text).toMatch(message);
  });

  test('of a Sliding window that is the parent’s are InvalidLimits', () => {
    const compiled = compile({
      'glm/team': { limits: [{ name: 'm', amount: 10, ...minutes }] },
      'glm/leaf': { parentRef: { name: 'team' }, limits: [{ name: 'm', amount: 5, guaranteed: 1 }] },
    });
    expect(verdictIn(compiled, 'glm/leaf').message).toMatch(/not for Sliding windows/);
  });

  test('stay with last good limits', () => {
    const before = compile({ 'glm/team': five({ amount: '40%', guaranteed: '20%' }) });
    const worse = { limits: [{ name: 'nothing', amount: '10%' }] };
    const after = compile({ 'glm/team': worse }, { previous: inForce(before) });
    expect(nodeIn(after, 'glm/team')?.limits).toEqual(nodeIn(before, 'glm/team')?.limits);
  });
});

describe('weights and classes', () => {
  test('a weight is granted by the parent', () => {
    const compiled = compile({ 'glm/light': { weight: 10 }, 'glm/heavy': { weight: 11 } });
    expect(nodeIn(compiled, 'glm/light')?.weight).toBe(10);
    expect(verdictIn(compiled, 'glm/heavy')).toMatchObject({ reason: 'ParentNotGranted' });
    const inner = {
      'glm/team': { children: { maxWeight: 20 } },
      'glm/heavy': { parentRef: { name: 'team' }, weight: 20 },
    };
    expect(verdictIn(compile(inner), 'glm/heavy').active).toBe(true);
  });

  test('System is for the operator’s namespace', () => {
    const system = { priority: { default: 'System', max: 'System' } };
    const compiled = compile({ 'glmquota/ops': system, 'glm/team': system });
    expect(nodeIn(compiled, 'glmquota/ops')?.maxClass).toBe('System');
    expect(compiled.quotas.get('glmquota/ops')?.calls?.class).toEqual({ default: 'System', max: 'System' });
    expect(verdictIn(compiled, 'glm/team')).toMatchObject({
      reason: 'InvalidLimits',
      message: expect.stringContaining('namespace glmquota; write High') as unknown,
    });
    expect(verdictIn(compile({ 'glm/team': system }, { operatorNamespace: null }), 'glm/team').active).toBe(true);
  });

  test('the lowest class on the path caps class and default of all below', () => {
    const compiled = compile({
      'glm/team': { priority: { max: 'Low' } },
      'glm/leaf': { parentRef: { name: 'team' }, priority: { default: 'High', max: 'High' } },
    });
    expect(compiled.quotas.get('glm/leaf')?.calls?.class).toEqual({ default: 'Low', max: 'Low' });
    expect(nodeIn(compiled, 'glm/leaf')?.maxClass).toBe('High');
  });
});

describe('what is inherited', () => {
  const callsOf = (compiled: CompiledWorld, id: string) => compiled.quotas.get(id)!.calls!;

  test('of waiting each field by itself', () => {
    const accounts = [account('max', { waiting: { maxWait: '9m', maxLength: 7 } })];
    const compiled = compile(
      {
        'glm/team': { waiting: { mode: 'UntilSlot' } },
        'glm/leaf': { parentRef: { name: 'team' }, waiting: { maxLength: 3 } },
      },
      { accounts },
    );
    expect(callsOf(compiled, 'glm/leaf').waiting).toEqual({ mode: 'UntilSlot', maxWaitMs: 540_000 });
    const lengths = ['account', 'quota:glm/team', 'quota:glm/leaf'].map(
      (name) => nodeOf(compiled, 'glm/max', name)?.maxQueue,
    );
    expect(lengths).toEqual([7, 7, 3]);
  });

  test('are thresholds, unless the node has its own', () => {
    const compiled = compile({
      'glm/team': {},
      'glm/own': { alerts: { thresholdsPercent: [99, 50] } },
      'glm/none': { alerts: { thresholdsPercent: [] } },
    });
    const thresholds = ['glm/team', 'glm/own', 'glm/none'].map((id) => nodeIn(compiled, id)?.thresholds);
    expect(thresholds).toEqual([[80, 90, 95], [50, 99], []]);
  });

  test('is the shortest run time, an hour where nobody says', () => {
    const compiled = compile({
      'glm/silent': {},
      'glm/long': { maxRuntime: '2h' },
      'glm/below': { parentRef: { name: 'long' }, maxRuntime: '10h' },
      'glm/short': { parentRef: { name: 'long' }, maxRuntime: '1m' },
    });
    const minutes = ['silent', 'long', 'below', 'short'].map(
      (name) => callsOf(compiled, `glm/${name}`).maxRuntimeMs / 60_000,
    );
    expect(minutes).toEqual([60, 120, 120, 1]);
  });

  test('stays as it was for a node whose object does not parse', () => {
    const specs = {
      'glm/team': { waiting: { maxLength: 5 }, alerts: { thresholdsPercent: [50] }, priority: { max: 'Normal' } },
    };
    const before = compile(specs);
    const problems = [{ path: 'spec', message: 'no' }];
    const invalid = [{ kind: 'GLMQuota' as const, namespace: 'glm', name: 'team', uid: 'u', problems }];
    const leaf = { 'glm/leaf': { parentRef: { name: 'team' } } };
    const both = compile({ ...specs, ...leaf });
    const after = compile(leaf, { invalid, previous: inForce(both) });
    expect(nodeIn(after, 'glm/team')).toEqual(nodeIn(before, 'glm/team'));
    expect(nodeIn(after, 'glm/leaf')).toMatchObject({ maxQueue: 5, thresholds: [50] });
  });
});

test('per-call maxima are in the engine’s units', () => {
  const perCall = [
    { resource: 'Cost', max: '1.25' },
    { resource: 'CostUnits', max: 7 },
  ];
  expect(nodeIn(compile({ 'glm/team': { perCall } }), 'glm/team')?.perCall).toEqual([
    { resource: 'Cost', max: 1_250_000_000 },
    { resource: 'CostUnits', max: 7 },
  ]);
});

test('a quota may learn its concurrency too', () => {
  const compiled = compile({ 'glm/team': { concurrency: { mode: 'Adaptive', min: 2, max: 8, start: 3 } } });
  expect(nodeIn(compiled, 'glm/team')).toMatchObject({ concurrency: 8, adaptive: { min: 2, start: 3 } });
});

test('an account that lost its catalog keeps its models', () => {
  const before = compile({});
  const after = compile({}, { catalogs: new Map(), previous: inForce(before) });
  expect(inForce(after)).toEqual(inForce(before));
  expect(catalog.models.every(({ name }) => nodeOf(after, 'glm/max', `model:${name}`))).toBe(true);
});
