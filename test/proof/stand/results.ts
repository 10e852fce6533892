/** What `npm run proof` keeps of a proof: its row of the table, and its plot. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isFull } from '../mode.ts';
import { drawFlights } from './plot.ts';
import type { Proof } from './stand.ts';

export const RESULTS = join(import.meta.dirname, '../results');

export interface ProofRow {
  readonly name: string;
  /** Of the tree; null: none. */
  readonly limit: number | null;
  readonly bound: number;
  readonly peak: number;
  readonly calls: number;
}

/** Where the rows of a run are collected; unset: nobody collects. */
const ROWS = process.env['GLMQUOTA_PROOF_ROWS'];

/** Prints the row; under `npm run proof` it is collected and drawn. */
export function writeProof(proof: Proof & Pick<ProofRow, 'name' | 'limit' | 'bound'>): void {
  const { name, limit, bound, calls } = proof;
  const of = limit === null ? 'no limit' : `limit ${limit}`;
  console.log(`proof ${name}: ${proof.peak} in flight at once, ${of}, bound ${bound}, ${calls.length} calls`);
  if (!isFull || ROWS === undefined) return;
  const row: ProofRow = { name, limit, bound, peak: proof.peak, calls: calls.length };
  writeFileSync(join(ROWS, `${name}.json`), JSON.stringify(row));
  mkdirSync(RESULTS, { recursive: true });
  writeFileSync(join(RESULTS, `${name}.svg`), drawFlights(proof));
}
