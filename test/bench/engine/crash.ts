/** How long a slot stays taken when the process that holds it is killed. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import type { SidecarSnapshot } from '#sidecar/control/terms.ts';
import { ENGINE_CONSTANTS } from '#sidecar/engine/constants.ts';
import { node } from '#test/support/engine.ts';
import { median } from '../blocks.ts';
import { own, temporaryFolder } from '../owned.ts';
import type { Metric } from '../report.ts';
import { openPod } from './pods.ts';
import type { Section } from './section.ts';
import { MODEL_NODES, openEngineTree } from './trees.ts';

const HOLDER = join(import.meta.dirname, '../holder.ts');
const LEAF = 'quota:bench/agent';
const FULL_TRIALS = 6;
const QUICK_TRIALS = 2;
/** Between two kills: they meet the beats of holder and waiter at other moments each. */
const APART_MS = 850;
const { TTL_MS, BEAT_MS } = ENGINE_CONSTANTS;

export async function benchCrash(section: Section): Promise<readonly Metric[]> {
  const { log, quick } = section;
  const trials = quick ? QUICK_TRIALS : FULL_TRIALS;
  log(
    `crash: ${trials} holders on a tree each are killed and their slots waited for, about ${(TTL_MS + BEAT_MS) / 1000 + trials} s`,
  );
  await using folder = await temporaryFolder('glmquota-bench-crash-');
  const afterMs = await Promise.all(
    Array.from({ length: trials }, (_, index) => returned(section, index, folder.path)),
  );
  const worstMs = Math.max(...afterMs);
  const bound = `${TTL_MS / 1000} s of lifetime and ${BEAT_MS / 1000} s between beats`;
  return [
    {
      id: 'engine.crash_return_s',
      value: (worstMs - TTL_MS - BEAT_MS) / 1000,
      unit: 's',
      goal: 1,
      better: 'lower',
      method:
        `kill -9 of a process that holds a tree’s only slot and beats, to the grant of the one waiter of another process, minus ${bound}; ` +
        `worst of ${trials} trials (below zero: earlier than that)`,
      peers: { 'worst after the kill': worstMs / 1000, 'median after the kill': median(afterMs) / 1000 },
    },
  ];
}

/** Milliseconds from the kill to the waiter's grant. */
async function returned({ world, log }: Section, index: number, folder: string): Promise<number> {
  const tree = await openEngineTree(world, `crash-${index}`, [
    node('account', null, { concurrency: 1 }),
    ...MODEL_NODES,
    node(LEAF, 'account'),
  ]);
  const snapshot = tree.snapshotFor(LEAF);
  const kill = await startHolder(snapshot, join(folder, `${index}.json`));
  await using waiter = await openPod(snapshot, 'waiter');
  const granted = waiter.lease();
  // So that both have a beat behind them.
  await delay(BEAT_MS + 1500 + index * APART_MS);
  const killedMs = performance.now();
  await kill();
  const lease = await granted;
  const tookMs = performance.now() - killedMs;
  log(`crash, trial ${index + 1}: the slot was back after ${(tookMs / 1000).toFixed(2)} s`);
  await lease.settle({
    outcome: 'neverSent',
    usage: { inputTokens: 0, cachedTokens: 0, outputTokens: 0 },
    responseModel: null,
  });
  return tookMs;
}

async function startHolder(snapshot: SidecarSnapshot, file: string): Promise<() => Promise<void>> {
  await writeFile(file, JSON.stringify(snapshot), { mode: 0o600 });
  const child = own(spawn(process.execPath, [HOLDER, file], { stdio: ['ignore', 'pipe', 'inherit'] }));
  const exited = once(child, 'exit');
  const failed = exited.then(() => {
    throw new Error('the holder of a slot ended by itself');
  });
  failed.catch(() => undefined);
  await Promise.race([once(createInterface({ input: child.stdout }), 'line'), failed]);
  return async () => {
    child.kill('SIGKILL');
    await exited;
  };
}
