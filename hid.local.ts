import { run } from './test/simulation/run.ts';
import * as c from './test/simulation/tree-scenarios.ts';
for (let seed=1; seed<=16; seed++) {
  const s = c.hiddenLimits;
  let h: any; const hidden = (r: any) => (h = s.hidden!(r));
  const r = await run({...s, hidden}, { seed, only: null, aloud: false });
  console.log(seed, JSON.stringify(h), r.faults.map(f=>f.what).join('; '), r.stats.accepted, r.stats.refused, ((r.stats.refused as number)*100/(r.stats.accepted as number)).toFixed(1), r.violation?.rule);
}
