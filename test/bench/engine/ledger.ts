/** What the ledger costs: bytes an entry, and time in Redis against the same library without it. */
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { createSidecarEngine } from '#sidecar/engine/client.ts';
import { functionKeys } from '#sidecar/engine/keys.ts';
import { assembleLibrary, ENGINE_VERSION, PRODUCTION } from '#sidecar/engine/library.ts';
import { treeKeyOf } from '#operator/trees/names.ts';
import { node } from '#test/support/engine.ts';
import { medianOf } from '../blocks.ts';
import type { Metric } from '../report.ts';
import { scriptStats, type Section } from './section.ts';
import { MODEL_NODES, openEngineTree, requestOf, settlementOf } from './trees.ts';

const LEDGER = resolve(import.meta.dirname, '../../../sidecar/engine/lua/ledger.lua');
const LEAF = 'quota:bench/team/agent';
const BLOCKS = 5;
const BARE = { ...PRODUCTION, version: `${ENGINE_VERSION}bare` };
const WRITES = /\blog\(current, name, ARGV, reply, may_be_full\)/;
/** All that `log` does besides entering the call. */
const WITHOUT = `redis.call('HSET', current.keys.meta, STATE, encode_meta(current.meta))`;

export async function benchLedger(section: Section): Promise<readonly Metric[]> {
  const bare = existsSync(LEDGER) ? assembleLibrary(BARE) : '';
  if (!WRITES.test(bare)) {
    section.log('engine.ledger_* is left out: there is no ledger, or not where this bench knows it');
    return [];
  }
  const { world, log, quick } = section;
  const { redis } = world.redis;
  await redis.call('FUNCTION', 'LOAD', 'REPLACE', bare.replace(WRITES, WITHOUT));
  const calls = quick ? 300 : 2000;
  await openLedgerTree(section);
  const blocks: { readonly kept: number; readonly bare: number }[] = [];
  for (let block = 0; block < BLOCKS; block++) {
    blocks.push({ kept: await usecPerCall(section, PRODUCTION, calls), bare: await usecPerCall(section, BARE, calls) });
  }
  await redis.call('FUNCTION', 'DELETE', `glmquota_${BARE.version}`);
  const added = medianOf(blocks, (block) => block.kept - block.bare);
  const bytes = await bytesPerCall(section);
  log(`ledger: ${added.toFixed(1)} µs and ${bytes.toFixed(0)} bytes a call`);
  const shape = `acquire and settle at depth 3, median of ${BLOCKS} blocks of ${calls} beside as many without`;
  return [
    {
      id: 'engine.ledger_added_us',
      value: added,
      unit: 'µs',
      goal: null,
      better: 'lower',
      method: `time in Redis of one call, by INFO commandstats, against the same library with the entry left out; ${shape}`,
      peers: { 'with ledger': medianOf(blocks, ({ kept }) => kept), without: medianOf(blocks, (block) => block.bare) },
    },
    {
      id: 'engine.ledger_bytes_per_call',
      value: bytes,
      unit: 'bytes',
      goal: null,
      better: 'lower',
      method: `MEMORY USAGE of the ledger's stream divided by its entries; ${shape}`,
      peers: {},
    },
  ];
}

const ACCOUNT = { namespace: 'bench', name: 'ledger' };

async function openLedgerTree({ world }: Section): Promise<void> {
  await openEngineTree(world, ACCOUNT.name, [
    node('account', null, { concurrency: 16 }),
    ...MODEL_NODES,
    node('quota:bench/team', 'account'),
    node(LEAF, 'quota:bench/team'),
  ]);
}

async function usecPerCall({ world }: Section, variant: typeof PRODUCTION, calls: number): Promise<number> {
  const { redis } = world.redis;
  const engine = createSidecarEngine({ redis, treeKey: treeKeyOf(ACCOUNT), variant, form: 'functions' });
  const before = await scriptStats(redis);
  for (let call = 0; call < calls; call++) {
    const request = requestOf({ leaf: LEAF, generation: 1 });
    const verdict = await engine.acquire(request);
    if (verdict.kind !== 'granted') throw new Error(`acquire was answered ${JSON.stringify(verdict)}`);
    await engine.settle([settlementOf(request.id, verdict.fence)]);
  }
  const after = await scriptStats(redis);
  return (after.usec - before.usec) / (after.calls - before.calls);
}

async function bytesPerCall({ world }: Section): Promise<number> {
  const { redis } = world.redis;
  const stream = functionKeys(treeKeyOf(ACCOUNT)).at(-1) ?? '';
  const bytes = Number(await redis.call('MEMORY', 'USAGE', stream, 'SAMPLES', '0'));
  return bytes / (await redis.xlen(stream));
}
