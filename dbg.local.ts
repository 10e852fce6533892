import { run } from './test/simulation/run.ts';
import * as b from './test/simulation/store-scenarios.ts';
const START = 1795219200000;
const sabotage = { model: (m: any) => {
  let on = false;
  for (const op of ['swap', 'settle', 'acquire', 'register', 'tick','beat']) {
    const real = m[op].bind(m);
    m[op] = (...a: any[]) => { const r = real(...a); const w = [...(m.tree.nodes.get('account')?.windows ?? [])].find(([k]: any) => k.startsWith('five-hour'))?.[1] as any; const t = (m.clock.now.wallMs - START); if (w && t > 58000 && t < 96500 && op !== 'tick' && op !== 'beat') console.log(t, op, op==='swap' ? a[0].id.slice(0,5)+' '+a[0].firstByteAfterMs : op==='settle'? a[0].map((x: any)=>x.id.slice(0,5)+' '+x.sentAfterMs+' '+x.firstByteAfterMs).join():'', JSON.stringify(w.periods.map((p: any) => ({ used: p.used, settled: p.settled, lo: p.lo && p.lo-START, hi: p.hi && p.hi-START, soft: p.soft && p.soft-START, sure: p.sure && p.sure-START, floor: p.floor && p.floor-START }))), w.held.size); return r; };
  } } };
await run((b as any).cutOffsWithFailOver, { seed: 207, only: null, aloud: false, sabotage });
