/** Calls in flight at the vendor through a fault, as a picture. */
import type { Step } from './oracle.ts';
import type { Mark, Proof } from './stand.ts';

const WIDTH = 900;
const HEIGHT = 260;
const LEFT = 40;
const RIGHT = 880;
const TOP = 60;
const BASE = 210;
const LINE = '#2f6f9f';
const LIMIT = '#5f6b7a';
const BOUND = '#b3261e';

export interface Drawn extends Pick<Proof, 'steps' | 'marks' | 'peak'> {
  readonly name: string;
  readonly limit: number | null;
  readonly bound: number;
}

export function drawFlights({ name, limit, bound, steps, marks, peak }: Drawn): string {
  const fromMs = Math.min(...steps.map(({ atMs }) => atMs), ...marks.map(({ atMs }) => atMs));
  const untilMs = Math.max(...steps.map(({ atMs }) => atMs), ...marks.map(({ atMs }) => atMs));
  const most = Math.max(peak, bound, limit ?? 0, 1);
  const x = (atMs: number): number => LEFT + ((RIGHT - LEFT) * (atMs - fromMs)) / Math.max(1, untilMs - fromMs);
  const y = (count: number): number => BASE - ((BASE - TOP) * count) / (most * 1.1);
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="sans-serif" font-size="11">
<rect width="${WIDTH}" height="${HEIGHT}" fill="white"/>
<text x="${LEFT}" y="20" font-weight="bold">${name}: calls in flight at the vendor, at most ${peak}</text>
${envelope(steps, x, y)}
${limit === null ? '' : level(y(limit), LIMIT, `limit ${limit}`)}
${bound === limit ? '' : level(y(bound), BOUND, `bound ${bound}`)}
${marks.map((mark, index) => moment(mark, x(mark.atMs), index)).join('\n')}
<line x1="${LEFT}" y1="${BASE}" x2="${RIGHT}" y2="${BASE}" stroke="black"/>
<text x="${RIGHT}" y="${BASE + 16}" text-anchor="end">${((untilMs - fromMs) / 1000).toFixed(0)} s</text>
</svg>
`;
}

/** The most and the least of each pixel: short gaps between two calls stay visible as shade. */
function envelope(steps: readonly Step[], x: (atMs: number) => number, y: (count: number) => number): string {
  const columns: { most: number; least: number }[] = [];
  let next = 0;
  let count = 0;
  for (let column = LEFT; column <= RIGHT; column++) {
    let [most, least] = [count, count];
    for (; next < steps.length && x(steps[next]!.atMs) <= column; next++) {
      count = steps[next]!.count;
      most = Math.max(most, count);
      least = Math.min(least, count);
    }
    columns.push({ most, least });
  }
  const line = (value: (of: { most: number; least: number }) => number): string[] =>
    columns.map((each, index) => `${LEFT + index},${y(value(each)).toFixed(1)}`);
  const area = [...line(({ most }) => most), ...line(({ least }) => least).toReversed()].join(' ');
  return `<polygon points="${area}" fill="${LINE}" fill-opacity="0.25"/>
<polyline points="${line(({ most }) => most).join(' ')}" fill="none" stroke="${LINE}"/>`;
}

function level(at: number, stroke: string, label: string): string {
  return `<line x1="${LEFT}" y1="${at.toFixed(1)}" x2="${RIGHT}" y2="${at.toFixed(1)}" stroke="${stroke}" stroke-dasharray="4 3"/>
<text x="${RIGHT}" y="${(at - 4).toFixed(1)}" fill="${stroke}" text-anchor="end">${label}</text>`;
}

function moment({ label }: Mark, at: number, index: number): string {
  const low = BASE + 16 + 12 * (index % 3);
  return `<line x1="${at.toFixed(1)}" y1="${TOP - 20}" x2="${at.toFixed(1)}" y2="${low - 10}" stroke="#888" stroke-dasharray="1 2"/>
<text x="${(at + 3).toFixed(1)}" y="${low}" fill="#444">${label}</text>`;
}
