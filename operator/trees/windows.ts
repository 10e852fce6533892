/** Windows of limits: compared, described. */
import type { Window } from '../../sidecar/engine/tree-terms.ts';

/** Whether two windows are the same by identity: type, duration, zone (rule W4). */
export function sameWindow(a: Window, b: Window): boolean {
  if (a.type === 'Calendar') return b.type === 'Calendar' && a.period === b.period && a.timeZone === b.timeZone;
  return b.type !== 'Calendar' && a.type === b.type && a.durationMs === b.durationMs;
}

/** `Anchored 5h`, `Sliding 1m`, `Calendar Day Asia/Shanghai`. */
export function describeWindow(window: Window): string {
  if (window.type === 'Calendar') return `Calendar ${window.period} ${window.timeZone}`;
  return `${window.type} ${describeDuration(window.durationMs)}`;
}

const UNITS = [
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1000],
  ['ms', 1],
] as const;

function describeDuration(ms: number): string {
  let left = ms;
  let text = '';
  for (const [unit, size] of UNITS) {
    const count = Math.floor(left / size);
    if (count > 0) text += `${count}${unit}`;
    left -= count * size;
  }
  return text;
}
