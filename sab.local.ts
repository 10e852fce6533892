import { run, type Sabotage } from './test/simulation/run.ts';
import * as a from './test/simulation/scenarios.ts';
import * as b from './test/simulation/store-scenarios.ts';
import * as c from './test/simulation/tree-scenarios.ts';
import { ENGINE_CONSTANTS } from './sidecar/engine/constants.ts';
const all: any = { ...a, ...b, ...c };
const breaks: Record<string, Sabotage> = {
  gapGuard: { model: (m) => Object.defineProperty(m.clock, 'afterGap', { get: () => false }) },
  manySilent: { model: (m) => { m.clock.manySilent = () => false; } },
  epoch: { model: (m) => { m.clock.otherEpoch = () => null; } },
  learning: { model: (m) => Object.defineProperty(m.tree.leases, 'learningUntilMs', { get: () => null }) },
  doubleRefund: { model: (m) => { const cancel = m.cancel.bind(m); m.cancel = (id, o) => { const l = m.tree.leases.find(id); cancel(id, o); if (l) for (const t of l.taken) for (const ch of t.charges) { const w = m.tree.node(t.node).windows.get(ch.key); if (w?.kind==='meter') w.correct(-1, ch.place, m.tree.now); } }; } },
  forgetLate: { model: (m) => { const find = m.tree.leases.find.bind(m.tree.leases); m.tree.leases.find = (id) => { const l = find(id); return l?.live ? l : undefined; }; } },
  tombstones: { model: (m) => { m.tree.leases.isDone = () => false; } },
  noClaim: { engine: (e) => ({ ...e, claim: async () => true }) },
  lostIgnored: { engine: (e) => ({ ...e, beat: async (r, s) => { const x = await e.beat(r, s); return x.kind === 'alive' ? { ...x, lost: [] } : x; } }) },
  refundTwice: { model: (m) => { for (const op of ['settle','swap'] as const) { const real: any = (m as any)[op].bind(m); (m as any)[op] = (x: any, ...r: any[]) => { const a = real(x, ...r); for (const st of [x].flat()) if (st.outcome.startsWith('refused')) for (const [k, w] of m.tree.node('account').windows) if (w.kind==='meter' && k.startsWith('meter')) w.correct(-1, w.placeAt(m.tree.now), m.tree.now); return a; }; } } },
  noRegister: { engine: (e) => ({ ...e, register: async (r, s) => e.register({ ...r, leases: [] }, s) }) },
  noDisclaim: { engine: (e) => ({ ...e, register: async (r, s) => e.register({ ...r, disclaimed: [] }, s) }) },
  cancelForgotten: { engine: (e) => ({ ...e, cancel: async () => undefined }) },
  settleForgotten: { engine: (e) => ({ ...e, settle: async (all) => all.map(() => ({ kind: 'settled', late: false, overdraft: false }) as const) }) },
  reapNever: { model: (m) => { m.tree.leases.due = () => []; } },
  holdsForgotten: { model: (m) => { m.tree.leases.hold = () => undefined; } },
  wakeForgotten: { model: (m) => { m.tree.room.wake = () => undefined; } },
  pushesForgotten: { engine: (e) => ({ ...e, notices: async function* () {} as any }) },
  shortTtl: { model: (m) => { const ext = m.tree.leases.extend.bind(m.tree.leases); m.tree.leases.extend = (l) => { ext(l); l.expiresMs -= 8000; }; } },
  notices: { model: (m) => { const hear = m.tree.leases.hear.bind(m.tree.leases); m.tree.leases.hear = (o) => hear(o, true); } },
  freezeIgnored: { model: (m) => { m.freeze = () => undefined; } },
};
const plan: Record<string, string[]> = {
  doubleRefund: ['undisturbed', 'crashes'], forgetLate: ['longStops', 'cutOffs'], noClaim: ['longStops', 'cutOffs'],
  learning: ['lossyFailOver', 'totalLoss'], freezeIgnored: ['freezes'], reapNever: ['crashes'], holdsForgotten: ['undisturbed', 'crashes'],
  tombstones: ['lossyNetwork'], refundTwice: ['hiddenLimits'], noRegister: ['lossyFailOver','totalLoss'], noDisclaim: ['lossyFailOver', 'lossyNetwork'], cancelForgotten: ['undisturbed'], settleForgotten: ['undisturbed'],
  wakeForgotten: ['undisturbed'], pushesForgotten: ['undisturbed'], epoch: ['lossyFailOver','totalLoss'], manySilent: ['stalls', 'splits'], gapGuard: ['clockSteps'],
};
for (const [name, sabotage] of Object.entries(breaks)) {
  if (!plan[name]) continue;
  if (process.argv[2] && !process.argv[2].split(',').includes(name)) continue;
  const found: string[] = [];
  for (const s of plan[name]!) {
    for (let seed = 1; seed <= 12; seed++) {
      const { violation } = await run(all[s], { seed, only: null, aloud: false, sabotage });
      if (violation && !(s==='totalLoss' && seed === 11)) { found.push(`${s} ${seed}: ${violation.rule}`); break; }
    }
  }
  console.log(name, found.length, '\n   ', found.join('\n    '));
}
