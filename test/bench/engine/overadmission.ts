/** Whether the vendor ever sees a call too many: by the simulator's own count, and by the proofs' where there are faults. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { chatCall, runLoad } from '../blocks.ts';
import { startSidecar, unpackImage } from '../image.ts';
import type { Metric } from '../report.ts';
import { treeOf, type TreeOptions } from '../world.ts';
import type { Section } from './section.ts';

const SIDECARS = 3;
const ROUNDS = 30;
const FULL = { callers: 32, calls: 1500 };
const QUICK = { callers: 16, calls: 300 };
/** Of the tree the crowd meets. */
export const CROWDED: TreeOptions = { name: 'crowded', concurrency: 4, prompts: 1000 };
const PROOFS = join(import.meta.dirname, '../../proof/results');

/** The crowd asks for more slots than there are, then for more prompts than the window has. */
export async function benchOveradmission({ world, log, quick }: Section): Promise<readonly Metric[]> {
  const { callers, calls } = quick ? QUICK : FULL;
  log('over-admission: building the image');
  await using image = await unpackImage();
  await using stack = new AsyncDisposableStack();
  const { snapshotFile } = treeOf(world, CROWDED.name);
  const starting = Array.from({ length: SIDECARS }, () => startSidecar(image, snapshotFile));
  const sidecars = await Promise.all(starting);
  for (const sidecar of sidecars) stack.use(sidecar);
  log(`over-admission: ${SIDECARS} sidecars, ${callers} callers each, ${CROWDED.concurrency} slots`);
  const load = { ...chatCall('[[sim ms=2]]'), concurrency: callers, calls, warmupCalls: 0 };
  const crowd = (): Promise<unknown> => Promise.all(sidecars.map(({ origin }) => runLoad({ origin, ...load })));
  let usedUp = false;
  for (let round = 0; round < ROUNDS && !usedUp; round++) {
    await crowd();
    usedUp = (await world.control.report()).accepted >= CROWDED.prompts;
  }
  if (!usedUp) throw new Error(`the window was not used up within ${ROUNDS} rounds`);
  await crowd();
  const { accepted, overAdmission, refused } = await world.control.report();
  const vendorRefusals = Object.values(refused).reduce((sum, count) => sum + count, 0);
  return [
    {
      id: 'engine.overadmission',
      value: overAdmission.concurrency + overAdmission.windowCalls,
      unit: 'calls',
      goal: 0,
      better: 'lower',
      method:
        `calls the simulator saw beyond its own limits; ${SIDECARS} bundled sidecars with ${callers} callers each, ` +
        `${CROWDED.concurrency} slots, until ${CROWDED.prompts} prompts of a window were used up and beyond`,
      peers: { accepted, refusedByVendor: vendorRefusals },
    },
  ];
}

interface ProofRow {
  readonly name: string;
  readonly bound: number;
  /** The most the oracle saw. */
  readonly peak: number;
}

/** What `npm run proof` left behind; nothing is measured here. */
export function readFaultProofs({ log }: Pick<Section, 'log'>, folder = PROOFS): readonly Metric[] {
  const files = existsSync(folder) ? readdirSync(folder).filter((name) => name.endsWith('.json')) : [];
  const rows = files.flatMap((name) => rowsIn(JSON.parse(readFileSync(join(folder, name), 'utf8'))));
  if (rows.length === 0) {
    log('engine.overadmission_faults is left out: there are no results of `npm run proof` in test/proof/results');
    return [];
  }
  const excess = ({ bound, peak }: ProofRow): number => Math.max(0, peak - bound);
  return [
    {
      id: 'engine.overadmission_faults',
      value: Math.max(...rows.map(excess)),
      unit: 'calls',
      goal: 0,
      better: 'lower',
      method: `the most in flight at the oracle above the bound of the fault, worst of ${rows.length} proofs; not measured here but by \`npm run proof\``,
      peers: Object.fromEntries(rows.map((row) => [row.name, excess(row)])),
    },
  ];
}

/** Rows of a proof, however deep in the document. */
function rowsIn(document: unknown): readonly ProofRow[] {
  if (typeof document !== 'object' || document === null) return [];
  const { name, bound, peak } = document as Record<string, unknown>;
  if (typeof name === 'string' && typeof bound === 'number' && typeof peak === 'number') return [{ name, bound, peak }];
  return Object.values(document).flatMap(rowsIn);
}
