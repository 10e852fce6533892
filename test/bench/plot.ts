/** The gateway's run as a picture: `results/gateway.svg`. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { GatewayRun, Pair } from './gateway.ts';
import type { LoadResult } from './load.ts';
import { resultsFolder } from './report.ts';

interface Panel {
  readonly title: string;
  readonly pairs: readonly Pair[];
  readonly value: (result: LoadResult) => number;
  readonly digits: number;
  readonly goal?: number;
}

const PANEL_WIDTH = 300;
const WIDTH = 3 * PANEL_WIDTH;
const HEIGHT = 280;
const TOP = 70;
const BASE = 230;
const DIRECT = '#9aa5b1';
const SIDECAR = '#2f6f9f';

/** One pair of bars a block: straight to the vendor, through the sidecar. */
export function drawGateway({ one, many, streamed }: GatewayRun): void {
  const panels: Panel[] = [
    { title: 'calls/s, c=16', pairs: many, value: ({ callsPerSecond }) => callsPerSecond, digits: 0, goal: 4000 },
    { title: 'p50 in ms, c=1', pairs: one, value: ({ p50Ms }) => p50Ms, digits: 2 },
    {
      title: 'first byte p50 in ms, streams, c=16',
      pairs: streamed,
      value: ({ firstByteP50Ms }) => firstByteP50Ms,
      digits: 1,
    },
  ];
  const text = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="sans-serif" font-size="11">
<rect width="${WIDTH}" height="${HEIGHT}" fill="white"/>
${legend()}
${panels.map((panel, index) => drawPanel(panel, index * PANEL_WIDTH)).join('\n')}
</svg>
`;
  writeFileSync(join(resultsFolder(false), 'gateway.svg'), text);
}

function legend(): string {
  const entry = (x: number, fill: string, label: string): string =>
    `<rect x="${x}" y="12" width="12" height="12" fill="${fill}"/><text x="${x + 18}" y="22">${label}</text>`;
  return (
    entry(20, DIRECT, 'straight to the simulator') + entry(190, SIDECAR, 'through the sidecar, block beside block')
  );
}

function drawPanel({ title, pairs, value, digits, goal }: Panel, left: number): string {
  const values = pairs.map(({ direct, through }) => [value(direct), value(through)] as const);
  const top = Math.max(goal ?? 0, ...values.flat());
  const heightOf = (each: number): number => ((BASE - TOP) * each) / top;
  const step = (PANEL_WIDTH - 40) / pairs.length;
  const width = step * 0.4;
  const bar = (x: number, each: number, fill: string): string => {
    const y = BASE - heightOf(each);
    return `<rect x="${x.toFixed(1)}" y="${y.toFixed(1)}" width="${width.toFixed(1)}" height="${heightOf(each).toFixed(1)}" fill="${fill}"/>
<text x="${(x + width / 2).toFixed(1)}" y="${(y - 4).toFixed(1)}" font-size="8" text-anchor="middle">${each.toFixed(digits)}</text>`;
  };
  const bars = values.flatMap(([direct, through], index) => {
    const x = left + 20 + index * step;
    return [bar(x, direct, DIRECT), bar(x + width, through, SIDECAR)];
  });
  return [
    `<text x="${left + 20}" y="50" font-weight="bold">${title}</text>`,
    ...bars,
    axis(left),
    ...goalLine(left, goal, heightOf),
  ].join('\n');
}

function axis(left: number): string {
  return `<line x1="${left + 15}" y1="${BASE}" x2="${left + PANEL_WIDTH - 15}" y2="${BASE}" stroke="black"/>`;
}

function goalLine(left: number, goal: number | undefined, heightOf: (value: number) => number): string[] {
  if (goal === undefined) return [];
  const y = (BASE - heightOf(goal)).toFixed(1);
  const right = left + PANEL_WIDTH - 15;
  return [
    `<line x1="${left + 15}" y1="${y}" x2="${right}" y2="${y}" stroke="#b3261e" stroke-dasharray="4 3"/>`,
    `<text x="${left + 15}" y="${BASE + 18}" fill="#b3261e">goal: at least ${goal} through the sidecar</text>`,
  ];
}
