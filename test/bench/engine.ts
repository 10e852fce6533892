/** `engine.*`: how fast Redis decides, how well slots are used and shared, and whether the vendor ever sees a call too many. */
import { benchAcquire } from './engine/acquire.ts';
import { benchBacklog } from './engine/backlog.ts';
import { benchBursts } from './engine/bursts.ts';
import { benchCrash } from './engine/crash.ts';
import { benchLedger } from './engine/ledger.ts';
import { benchOveradmission, CROWDED, readFaultProofs } from './engine/overadmission.ts';
import { drawEngine } from './engine/plot.ts';
import { benchRejects } from './engine/rejects.ts';
import { benchScale } from './engine/scale.ts';
import type { Section } from './engine/section.ts';
import { benchWeights } from './engine/weights.ts';
import { report, type Metric } from './report.ts';
import { openWorld } from './world.ts';

export async function benchEngine(log: (line: string) => void, { quick }: { readonly quick: boolean }): Promise<void> {
  await using world = await openWorld([{ name: 'calm', concurrency: 16, prompts: 1_000_000_000 }, CROWDED]);
  const section: Section = { world, log, quick };
  const metrics: Metric[] = [...(await benchAcquire(section)), ...(await benchScale(section))];
  metrics.push(...(await benchLedger(section)), ...(await benchBursts(section)));
  const backlog = await benchBacklog(section);
  metrics.push(...backlog.metrics);
  for (const bench of [benchWeights, benchRejects, benchCrash, benchOveradmission]) {
    metrics.push(...(await bench(section)));
  }
  metrics.push(...readFaultProofs(section));
  report('engine', { redisVersion: world.redisVersion, quick }, metrics);
  drawEngine(backlog, quick);
}
