import * as scenarios from './scenarios.ts';
import { run } from './run.ts';
const [name, from = '1', count = '20', only] = process.argv.slice(2);
const scenario = (scenarios as any)[name!];
const t = performance.now();
let bad = 0;
for (let seed = Number(from); seed < Number(from) + Number(count); seed++) {
  const r = await run(scenario, {
    seed,
    only: only ? only.split(',').map(Number) : null,
    aloud: process.env['LOUD'] === '1',
  });
  if (r.violation) {
    bad++;
    console.log(seed, 'VIOLATION', r.violation.rule, '|', r.violation.numbers.slice(0, 600));
    if (process.env['TAIL']) console.log(r.trace.tail());
  } else if (process.env['STATS']) console.log(seed, JSON.stringify(r.stats));
}
console.log(name, 'runs', count, 'bad', bad, 'ms/run', Math.round((performance.now() - t) / Number(count)));
process.exit(0);
