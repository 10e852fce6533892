/** The crowd before four slots as a picture, the engine beside its peers: `engine.svg`. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { resultsFolder } from '../report.ts';
import { type Backlog, ENGINE } from './backlog.ts';
import { type Contention, fairness, steps, utilisation } from './contention.ts';

const WIDTH = 900;
const BARS_TOP = 60;
const BARS_BASE = 210;
const LINES_TOP = 270;
const LINE_HEIGHT = 90;
const LINES_MS = 500;
const LEFT = 120;
const OURS = '#2f6f9f';
const THEIRS = '#9aa5b1';
const GOAL = '#b3261e';

type Named = readonly [name: string, run: Contention];

interface Bars {
  readonly title: string;
  readonly left: number;
  readonly goal: number;
  readonly value: (run: Contention) => number;
}

export function drawEngine({ runs }: Backlog, quick: boolean): void {
  const all = [...runs];
  const panels: readonly Bars[] = [
    { title: 'slot utilisation', left: 20, goal: 0.96, value: utilisation },
    { title: 'Jain’s index over callers', left: 470, goal: 0.95, value: byCaller },
  ];
  const height = LINES_TOP + all.length * LINE_HEIGHT + 40;
  const text = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" font-family="sans-serif" font-size="11">
<rect width="${WIDTH}" height="${height}" fill="white"/>
<text x="20" y="22">${describe(all)}</text>
${panels.map((panel) => drawBars(panel, all)).join('\n')}
<text x="20" y="${LINES_TOP - 14}" font-weight="bold">in flight over ${LINES_MS} ms</text>
${all.map((named, index) => drawLine(named, LINES_TOP + index * LINE_HEIGHT)).join('\n')}
</svg>
`;
  writeFileSync(join(resultsFolder(quick), 'engine.svg'), text);
}

function byCaller(run: Contention): number {
  return fairness(run, run.plan.callers, (caller) => caller);
}

function describe(all: readonly Named[]): string {
  const plan = all[0]?.[1].plan;
  return plan ? `${plan.callers} callers before ${plan.slots} slots, ${plan.serviceMs} ms of service, closed loop` : '';
}

function fillOf(name: string): string {
  return name === ENGINE ? OURS : THEIRS;
}

function drawBars({ title, left, goal, value }: Bars, all: readonly Named[]): string {
  const scale = BARS_BASE - BARS_TOP;
  const bars = all.map(([name, run], index) => {
    const share = value(run);
    const [x, y] = [left + 10 + index * 110, BARS_BASE - Math.min(1, share) * scale];
    return `<rect x="${x}" y="${y.toFixed(1)}" width="70" height="${(BARS_BASE - y).toFixed(1)}" fill="${fillOf(name)}"/>
<text x="${x + 35}" y="${(y - 4).toFixed(1)}" text-anchor="middle">${share.toFixed(3)}</text>
<text x="${x + 35}" y="${BARS_BASE + 14}" text-anchor="middle">${name}</text>`;
  });
  const y = (BARS_BASE - goal * scale).toFixed(1);
  const right = left + 10 + all.length * 110;
  return [
    `<text x="${left}" y="44" font-weight="bold">${title}</text>`,
    ...bars,
    `<line x1="${left}" y1="${BARS_BASE}" x2="${right}" y2="${BARS_BASE}" stroke="black"/>`,
    `<line x1="${left}" y1="${y}" x2="${right}" y2="${y}" stroke="${GOAL}" stroke-dasharray="4 3"/>`,
    `<text x="${right + 2}" y="${y}" fill="${GOAL}">≥ ${goal}</text>`,
  ].join('\n');
}

/** One step line; a slot that waits for its next call shows as a notch. */
function drawLine([name, run]: Named, top: number): string {
  const { slots } = run.plan;
  const base = top + LINE_HEIGHT - 30;
  const xOf = (atMs: number): string => (LEFT + (atMs * (WIDTH - LEFT - 30)) / LINES_MS).toFixed(1);
  const yOf = (inFlight: number): string => (base - (inFlight * (base - top - 10)) / slots).toFixed(1);
  const [first, ...rest] = steps(run, LINES_MS);
  const path = rest.map(([atMs, inFlight]) => `H${xOf(atMs)}V${yOf(inFlight)}`).join('');
  return [
    `<text x="20" y="${base}">${name}</text>`,
    `<text x="${LEFT - 6}" y="${yOf(slots)}" text-anchor="end" fill="${GOAL}">${slots}</text>`,
    `<text x="${LEFT - 6}" y="${base}" text-anchor="end">0</text>`,
    `<line x1="${LEFT}" y1="${yOf(slots)}" x2="${WIDTH - 30}" y2="${yOf(slots)}" stroke="${GOAL}" stroke-dasharray="4 3"/>`,
    `<line x1="${LEFT}" y1="${base}" x2="${WIDTH - 30}" y2="${base}" stroke="black"/>`,
    `<path d="M${xOf(0)} ${yOf(first?.[1] ?? 0)}${path}" fill="none" stroke="${fillOf(name)}" stroke-width="1.5"/>`,
  ].join('\n');
}
