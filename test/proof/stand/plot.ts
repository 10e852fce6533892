/** Calls in flight at the vendor through a fault, as a picture. */
import type { Step } from './oracle.ts';
import type { Mark, Proof } from './stand.ts';

const WIDTH = 900;
const HEIGHT = 280;
const LEFT = 56;
const RIGHT = 790;
const TOP = 40;
const BASE = 200;
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
${limit === null || limit === bound ? '' : level(y(limit), LIMIT, `limit ${limit}`)}
${level(y(bound), BOUND, limit === bound ? `limit = bound ${bound}` : `bound ${bound}`)}
${moments(marks, x)}
${axes(y, most, (untilMs - fromMs) / 1000)}
</svg>
`;
}

function axes(y: (count: number) => number, most: number, lengthS: number): string {
  const perS = (RIGHT - LEFT) / Math.max(0.001, lengthS);
  const everyS = [1, 2, 5, 10, 20, 60, 120, 300].find((each) => lengthS / each <= 12) ?? 600;
  const seconds = Array.from({ length: Math.floor(lengthS / everyS) + 1 }, (_, index) => index * everyS);
  const counts = Array.from({ length: most + 1 }, (_, count) => count);
  return `<path d="M${LEFT} ${TOP}V${BASE}H${RIGHT}" fill="none" stroke="black"/>
${counts.map((count) => `<text x="${LEFT - 6}" y="${(y(count) + 4).toFixed(1)}" text-anchor="end">${count}</text>`).join('')}
${seconds.map((second) => `<text x="${(LEFT + perS * second).toFixed(1)}" y="${BASE + 14}" text-anchor="middle">${second}</text>`).join('')}
<text x="${RIGHT + 14}" y="${BASE + 14}">seconds</text>
<text transform="translate(16 ${(TOP + BASE) / 2}) rotate(-90)" text-anchor="middle">calls in flight</text>`;
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
    columns.flatMap((each, index) => {
      const [before, after] = [columns[index - 1], columns[index + 1]];
      // On a level stretch its ends say it all.
      const isInside = before && after && value(before) === value(each) && value(after) === value(each);
      return isInside ? [] : [`${LEFT + index},${y(value(each)).toFixed(1)}`];
    });
  const area = [...line(({ most }) => most), ...line(({ least }) => least).toReversed()].join(' ');
  return `<polygon points="${area}" fill="${LINE}" fill-opacity="0.25"/>
<polyline points="${line(({ most }) => most).join(' ')}" fill="none" stroke="${LINE}"/>`;
}

function level(at: number, stroke: string, label: string): string {
  return `<line x1="${LEFT}" y1="${at.toFixed(1)}" x2="${RIGHT}" y2="${at.toFixed(1)}" stroke="${stroke}" stroke-dasharray="4 3"/>
<text x="${RIGHT + 4}" y="${(at + 4).toFixed(1)}" fill="${stroke}">${label}</text>`;
}

/** Each has a line; those that come too fast after one another for a label have none. */
function moments(marks: readonly Mark[], x: (atMs: number) => number): string {
  const ends = [LEFT, LEFT, LEFT];
  return marks
    .map(({ label, atMs }) => {
      const at = x(atMs);
      const row = ends.findIndex((end) => end <= at);
      const line = `<line x1="${at.toFixed(1)}" y1="${TOP}" x2="${at.toFixed(1)}" y2="${BASE + 28 + 14 * Math.max(0, row)}" stroke="#888" stroke-dasharray="1 2"/>`;
      if (row < 0) return line;
      ends[row] = at + 12 + 6 * label.length;
      return `${line}\n<text x="${(at + 3).toFixed(1)}" y="${BASE + 28 + 14 * row}" fill="#444">${label}</text>`;
    })
    .join('\n');
}
