/** What a replay found, for people. Pure. */
import type { Difference } from '../../sidecar/engine/ledger/replay.ts';
import type { Fate } from '../../sidecar/engine/ledger/simulation.ts';
import type { WhatIf } from '../../sidecar/engine/ledger/what-if.ts';
import type { ReplayResult } from './run.ts';

const MOST_ROWS = 20;
const LONGEST_CELL = 60;

export function render(result: ReplayResult): string {
  const { tree, entries, firstId, lastId, counts, differences, differenceCount } = result;
  const { checked, skipped, denied, epochs, gaps } = counts;
  const lines = [
    `Ledger of ${tree}: ${plural(entries, 'entry', 'entries')}, ${timeOf(firstId)} to ${timeOf(lastId)}`,
    `Replayed ${plural(checked, 'call', 'calls')}: ${verdict(checked, differenceCount)}`,
    `  ${skipped} before the first known state or after a gap, ${denied} denials counted without entries, ` +
      `${plural(epochs, 'epoch', 'epochs')}, ${plural(gaps, 'gap', 'gaps')}`,
  ];
  if (differences.length > 0) lines.push('', ...differenceTable(differences, differenceCount));
  if (result.whatIf) lines.push('', ...whatIfTables(result.whatIf));
  return lines.join('\n');
}

function verdict(checked: number, differences: number): string {
  if (checked === 0) return 'nothing, for the state is not known before the first checkpoint';
  return differences === 0 ? 'every verdict is as the ledger says' : `${plural(differences, 'differs', 'differ')}`;
}

function differenceTable(differences: readonly Difference[], count: number): readonly string[] {
  const rows = differences
    .slice(0, MOST_ROWS)
    .map(({ id, atMs, op, subject, ledger, model }) => [id, iso(atMs), op, subject, text(ledger), text(model)]);
  return [
    ...table(['ENTRY', 'SERVER TIME', 'OPERATION', 'OF', 'LEDGER', 'MODEL'], rows),
    ...more(count, 'differences; what comes after the first may follow from it'),
  ];
}

function whatIfTables({ before, after, limits, changed, unknown }: WhatIf): readonly string[] {
  const totals = [
    ['granted at once', before.grantedAtOnce, after.grantedAtOnce],
    ['granted after waiting', before.grantedLater, after.grantedLater],
    ['denied', before.denied, after.denied],
    ['left, or still waiting at the end', before.open, after.open],
    ['seconds waited by all', seconds(before.waitedMs), seconds(after.waitedMs)],
  ];
  const rows = limits.map(({ node, limit, denied, waited }) => [
    node,
    limit,
    `${denied.before} → ${denied.after}`,
    `${waited.before} → ${waited.after}`,
  ]);
  const calls = changed.slice(0, MOST_ROWS).map((call) => [call.id, call.leaf, fate(call.before), fate(call.after)]);
  return [
    ...table(
      ['CALLS', 'AS IT WAS', 'WHAT IF'],
      totals.map((row) => row.map(String)),
    ),
    ...(rows.length > 0 ? ['', ...table(['NODE', 'LIMIT', 'DENIED', 'LET WAIT'], rows)] : []),
    ...(calls.length > 0 ? ['', ...table(['CALL', 'QUOTA', 'AS IT WAS', 'WHAT IF'], calls)] : []),
    ...more(changed.length, 'calls are told something else'),
    ...(unknown > 0 ? ['', `${unknown} denials had no entry of their own and cannot be asked for again`] : []),
  ];
}

function fate(of: Fate): string {
  switch (of.kind) {
    case 'granted':
      return of.waitedAt === null
        ? 'granted'
        : `granted after ${seconds(of.waitedMs)} s (${of.waitedAt.node}/${of.waitedAt.limit})`;
    case 'denied':
      return `denied by ${of.node}/${of.limit} (${of.reason})`;
    case 'open':
      return 'left, or still waiting';
  }
}

function more(count: number, what: string): readonly string[] {
  return count > MOST_ROWS ? [`… and ${count - MOST_ROWS} more: ${count} ${what} (--json has all)`] : [];
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): readonly string[] {
  const all = [head, ...rows];
  const widths = head.map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0)));
  const line = (row: readonly string[]): string =>
    row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  ');
  return all.map((row) => line(row).trimEnd());
}

function text(value: unknown): string {
  const json = JSON.stringify(value) ?? 'nothing';
  return json.length > LONGEST_CELL ? `${json.slice(0, LONGEST_CELL - 1)}…` : json;
}

const seconds = (ms: number): string => (ms / 1000).toFixed(1);
const iso = (ms: number): string => new Date(ms).toISOString();
const timeOf = (id: string): string => iso(Number(id.split('-')[0]));
const plural = (count: number, one: string, many: string): string => `${count} ${count === 1 ? one : many}`;
