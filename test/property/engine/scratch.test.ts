import { deepEqual } from 'node:assert/strict';
import { afterAll, beforeAll, test } from 'vitest';
import { Model } from '#sidecar/engine/model.ts';
import {
  limit,
  node,
  ONE,
  openTestEngine,
  request,
  settlement,
  START_MS,
  TREE_KEY,
  treeOf,
  type TestEngine,
} from '#test/support/engine.ts';
import { startRedis, type TestRedis } from '#test/support/redis.ts';
let server: TestRedis;
let engine: TestEngine;
beforeAll(async () => {
  server = await startRedis();
  engine = await openTestEngine(server.socketPath);
});
afterAll(async () => {
  engine.redis.disconnect();
  await server[Symbol.asyncDispose]();
});
function rng(seed: number) {
  let s = seed >>> 0;
  return () => {
    s = (s + 0x6d2b79f5) >>> 0;
    let t = s;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
const CLASSES = ['System', 'High', 'Normal', 'Low'] as const;
const OUT = [
  'completed',
  'completed',
  'completed',
  'brokeMidStream',
  'neverSent',
  'refusedConcurrency',
  'refusedRate',
  'refusedOverload',
  'refusedQuota',
  'failedBeforeFirstByte',
  'rejected',
] as const;
async function run(seed: number, steps: number, log: string[]) {
  const r = rng(seed);
  const pick = <T>(all: readonly T[]): T => all[Math.floor(r() * all.length)]!;
  const e = engine.fresh();
  const model = new Model();
  let us = START_MS * 1000;
  let generation = 0;
  let restarts = 0;
  await e.setUs(us);
  await e.wipe();
  await e.restartAs('one');
  model.clock.setUs(us);
  const anch = (ms: number) => ({ type: 'Anchored', durationMs: ms }) as const;
  const tree = () => {
    const five = pick([
      anch(20_000),
      anch(20_000),
      { type: 'Fixed', durationMs: 14_000 } as const,
      {
        type: 'Calendar',
        period: 'Day',
        timeZone: 'UTC',
        boundariesMs: [START_MS - 5, START_MS + 15_000, START_MS + 40_000],
      } as const,
    ]);
    const own = five.type === 'Anchored' ? { windowOwner: 'account' } : {};
    const g = () => (r() < 0.6 ? { guaranteed: pick([1, 2, 3]) } : {});
    return treeOf([
      node('account', null, {
        ...pick([
          { concurrency: null },
          { concurrency: 1 },
          { concurrency: 2 },
          { concurrency: 5 },
          { concurrency: 4, adaptive: { min: 1, start: 2 } },
        ]),
        rate: pick([null, null, { intervalUs: 700_000, burst: 2 }]),
        maxQueue: pick([null, null, 6]),
        thresholds: pick([[], [50, 80]]),
        stops:
          r() < 0.15
            ? [
                {
                  name: 'night',
                  fromMs: 0,
                  untilMs: START_MS + Math.floor(r() * 60_000),
                  except: pick([[], ['System']]),
                },
              ]
            : [],
        limits: [limit('five-hour', pick([2, 4, 8]), { window: five })],
      }),
      node('model:a', 'account', {
        ...pick([
          { concurrency: 1 },
          { concurrency: 2 },
          { concurrency: 6, adaptive: { min: 1, start: 1 } },
          { concurrency: 6, adaptive: { min: 2, start: 3 } },
        ]),
        breaker: pick([null, { failureRatePercent: 50, minimumCalls: 2, openForMs: 4000 }]),
      }),
      node('model:other', 'account', { concurrency: pick([2, 3]) }),
      node('quota:t', 'account', {
        concurrency: pick([null, 1, 2]),
        weight: pick([1, 3]),
        observe: r() < 0.15,
        limits: [
          limit('five-hour', pick([2, 3, 8]), { window: five, ...own, ...g() }),
          limit('tok', pick([6, 10, 20]), {
            resource: 'Tokens',
            window: pick([{ type: 'Fixed', durationMs: 9000 }, anch(15_000), { type: 'Sliding', durationMs: 12_000 }]),
          }),
        ],
      }),
      node('quota:u', r() < 0.5 ? 'quota:t' : 'account', {
        concurrency: pick([null, 2]),
        maxClass: pick(['System', 'Normal']),
        limits: r() < 0.6 ? [limit('five-hour', pick([2, 5]), { window: five, ...own, ...g() })] : [],
        perCall: r() < 0.2 ? [{ resource: 'Tokens', max: 5 }] : [],
      }),
      node('scope:x', 'quota:t', {
        concurrency: pick([1, 2]),
        scope: {
          models: [],
          tools: ['x'],
          capabilities: [],
          sources: [],
          users: [],
          pools: [],
          namespaces: [],
          unset: pick(['Match', 'Skip']),
        },
      }),
    ]);
  };
  const known: { request: ReturnType<typeof request>; fence: number; state: string }[] = [];
  const configure = async () => {
    generation += 1;
    const t = tree();
    const rev = { leaseCreatedMs: START_MS, transitions: 0, generation };
    const w = model.configure(t, rev);
    deepEqual(await e.admin.configure(t, rev), w);
  };
  await configure();
  const seen = (v: any, id: string) => {
    const k = known.find((x) => x.request.id === id);
    if (!k) return;
    if (v.kind === 'granted') {
      k.fence = v.fence;
      k.state = 'granted';
    } else k.state = v.kind;
  };
  const fresh = () =>
    request(`c${known.length}`, {
      owner: pick(['p1/a', 'p2/b', 'p3/c']),
      leaf: pick(['quota:t', 'quota:u', 'quota:u', 'account']),
      model: pick(['a', 'b']),
      generation,
      class: pick(CLASSES),
      flowKey: pick(['', '', 'k']),
      attributes: pick([{}, {}, { tool: 'x' }, { tool: 'y' }]),
      place: pick([null, 'pl']),
      wait: {
        mode: pick(['Reject', 'UntilSlot', 'UntilWindow', 'UntilWindow']),
        maxWaitMs: pick([0, 3000, 20_000, 60_000]),
      },
      maxRuntimeMs: 30_000,
      reserve: { ...ONE, inputTokens: pick([0, 1, 3, 6]) },
    });
  const stl = () => {
    const k = pick(
      known.filter((x) => x.state === 'granted').length ? known.filter((x) => x.state === 'granted') : known,
    );
    return settlement(k.request.id, k.fence, {
      outcome: pick(OUT),
      holdMs: pick([0, 0, 0, 1500]),
      sentAfterMs: pick([null, 0, 100, 900]),
      firstByteAfterMs: pick([null, 50, 1000]),
      frozenUntilMs: pick([null, START_MS + 30_000]),
      actual: { ...ONE, inputTokens: pick([0, 2, 7]) },
    });
  };
  for (let i = 0; i < steps; i++) {
    const x = r();
    let what = '';
    try {
      if (x < 0.28 || known.length === 0) {
        const q = fresh();
        known.push({ request: q, fence: 0, state: 'new' });
        what = `acquire ${JSON.stringify(q)}`;
        const w = model.acquire(q);
        seen(w, q.id);
        log.push(what + ' => ' + JSON.stringify(w));
        deepEqual(await e.sidecar.acquire(q), w);
      } else if (x < 0.5) {
        const s = stl();
        what = `settle ${JSON.stringify(s)}`;
        log.push(what);
        const w = model.settle([s], e.knownEpoch());
        seen({ kind: 'done' }, s.id);
        deepEqual(await e.sidecar.settle([s]), w);
      } else if (x < 0.56) {
        const s = stl();
        const q = r() < 0.5 ? fresh() : { ...known.find((k) => k.request.id === s.id)!.request, generation };
        what = `swap ${JSON.stringify([s, q])}`;
        log.push(what);
        if (q.id !== s.id) known.push({ request: q, fence: 0, state: 'new' });
        const w = model.swap(s, q, e.knownEpoch());
        if (q.id !== s.id) seen({ kind: 'done' }, s.id);
        seen(w.verdict, q.id);
        deepEqual(await e.sidecar.swap(s, q), w);
      } else if (x < 0.62) {
        const k = pick(known);
        const keep = r() < 0.5;
        what = `cancel ${k.request.id} ${keep}`;
        log.push(what);
        model.cancel(k.request.id, { keepPlace: keep });
        await e.sidecar.cancel(k.request.id, { keepPlace: keep });
      } else if (x < 0.72) {
        const owner = pick(['p1/a', 'p2/b', 'p3/c']);
        const mine = known.filter((k) => k.request.owner === owner);
        const q = {
          owner,
          epoch: e.knownEpoch(),
          leases: mine
            .filter((k) => k.state === 'granted')
            .map((k) => ({ id: k.request.id, fence: k.fence, epoch: 0 })),
          waiters: mine.filter((k) => k.state === 'queued').map((k) => k.request.id),
        };
        what = `beat ${JSON.stringify(q)}`;
        const w = model.beat(q);
        log.push(what + ' => ' + JSON.stringify(w));
        if (w.kind === 'alive') for (const n of w.notices) seen(n.kind === 'granted' ? n.grant : n.denial, n.id);
        deepEqual(await e.sidecar.beat(q), w);
      } else if (x < 0.75) {
        const k = pick(known);
        const ref = { id: k.request.id, fence: k.fence, epoch: 0 };
        what = `claim ${k.request.id}`;
        log.push(what);
        const w = model.claim(ref);
        deepEqual(await e.sidecar.claim(ref), w);
      } else if (x < 0.8) {
        what = 'tick';
        const w = model.tick();
        log.push('tick => ' + JSON.stringify(w));
        deepEqual(await e.sidecar.tick(), w);
      } else if (x < 0.82) {
        what = 'configure';
        log.push(what);
        await configure();
      } else if (x < 0.83) {
        what = 'reclaim';
        log.push(what);
        const p = pick(['p1', 'p2']);
        const o = { prefix: p, except: null };
        let t = { leases: 0, waiters: 0 };
        for (;;) {
          const w = model.reclaim(o);
          if (w.leases + w.waiters === 0) break;
          t = { leases: t.leases + w.leases, waiters: t.waiters + w.waiters };
        }
        deepEqual(await e.admin.reclaim(TREE_KEY, o), t);
      } else if (x < 0.84) {
        const p = pick(['p1', 'p2']);
        const d = r() < 0.4;
        what = `drain ${p} ${d}`;
        log.push(what);
        model.drain(p, d);
        await e.admin.drain(TREE_KEY, p, d);
      } else if (x < 0.85) {
        const u = pick([null, START_MS + Math.floor(r() * 90_000)]);
        const n = pick(['account', 'quota:t']);
        what = `freeze ${n} ${u}`;
        log.push(what);
        model.freeze(n, u);
        await e.admin.freeze(TREE_KEY, n, u);
      } else if (x < 0.86) {
        const n = pick(['account', 'quota:t']);
        const l = pick(['five-hour', 'tok']);
        what = `reset ${n} ${l}`;
        log.push(what);
        const w = model.resetWindow(n, l);
        deepEqual(await e.admin.resetWindow(TREE_KEY, n, l), w);
      } else if (x < 0.87) {
        restarts += 1;
        what = 'restart';
        log.push(what);
        await e.restartAs(`s${restarts}`);
        (model as any).clock.restartAs(`s${restarts}`);
      } else if (x < 0.9) {
        const owner = pick(['p1/a', 'p2/b', 'p3/c']);
        const leases = known
          .filter((k) => k.request.owner === owner && k.state === 'granted')
          .map((k) => ({ lease: { id: k.request.id, fence: k.fence, epoch: 0 }, request: k.request, sent: r() < 0.7 }));
        what = `register ${owner} ${leases.map((l) => l.lease.id)}`;
        const w = model.register({ owner, leases, disclaimed: [] });
        log.push(what);
        deepEqual(await e.sidecar.register({ owner, leases, disclaimed: [] }), w);
      } else {
        us += Math.floor(pick([100, 1000, 2500, 5000, 9000, 16_000, 40_000]) * r()) * 1000 + 7;
        if (r() < 0.03) us -= 8_000_000;
        what = `time ${us / 1000 - START_MS}`;
        log.push(what);
        await e.setUs(us);
        model.clock.setUs(us);
      }
      if (process.env['TRACE']) {
        const pre = `q:{${TREE_KEY}}:`;
        console.log(
          i,
          what.slice(0, 60),
          'LUA',
          (await e.redis.zrange(pre + 'q', 0, -1))
            .map((m) => m.replaceAll('\0', ' ').replace(/0{8,}/g, ''))
            .join(' ; '),
          'MODEL',
          JSON.stringify((model as any).tree.room.waiters.map((w: any) => [w.request.id, w.round, w.seq])),
        );
      }
      const real = await e.sidecar.snapshot();
      const want = model.snapshot();
      const { configHash: _h, epoch: _e, serverNowMs: _n, ...s } = real!;
      deepEqual(s, want);
      deepEqual((await e.admin.audit(TREE_KEY)).drifts, []);
    } catch (error) {
      if (process.env['DUMP']) {
        const pre = `q:{${TREE_KEY}}:`;
        console.log('ORDER', JSON.stringify(await e.redis.zrange(pre + 'q', 0, -1)));
        console.log('PARKED', JSON.stringify(await e.redis.zrange(pre + 'k', 0, -1)));
        console.log('HEADS', JSON.stringify(await e.redis.zrange(pre + 'h', 0, -1)));
        console.log('TIMERS', JSON.stringify(await e.redis.zrange(pre + 't', 0, -1, 'WITHSCORES')));
        const room = (model as any).tree.room;
        console.log(
          'MODEL',
          JSON.stringify(room.waiters.map((w: any) => [w.request.id, w.sub, w.round, w.seq])),
          JSON.stringify([...room.subs.values()].map((x: any) => [x.name, x.birth, x.parked, x.flow.tag])),
          JSON.stringify([...room.timers]),
        );
      }
      throw new Error(`seed ${seed} step ${i}: ${what}\n${(error as Error).message}`, { cause: error });
    }
  }
}
test('scratch', async () => {
  const first = Number(process.env['SEED'] ?? 1);
  const count = Number(process.env['COUNT'] ?? 200);
  const steps = Number(process.env['STEPS'] ?? 60);
  let failed = 0;
  for (let s = first; s < first + count && failed < 3; s++) {
    const log: string[] = [];
    try {
      await run(s, steps, log);
    } catch (e) {
      failed++;
      console.log((e as Error).message.slice(0, 1800));
      console.log(
        log
          .slice(-Number(process.env['LOG'] ?? 6))
          .join('\n')
          .slice(0, 50000),
      );
    }
  }
  if (failed) throw new Error('failed');
}, 600_000);
