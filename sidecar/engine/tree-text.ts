/** A tree as text and back, for the operator to find what it wrote. Pure. */
import { AppError } from '../base/errors.ts';
import type { LimitConfig, TreeConfig, Window } from './tree-terms.ts';

interface Text {
  readonly tree: TreeConfig;
  /** `<period> <time zone>` → boundaries; kept once, not with every limit. */
  readonly calendars: Readonly<Record<string, readonly number[]>>;
}

export function serializeTree(tree: TreeConfig): string {
  const calendars: Record<string, readonly number[]> = {};
  const bare = mapWindows(tree, (window) => {
    if (window.type !== 'Calendar') return window;
    calendars[calendarOf(window)] = window.boundariesMs;
    return { ...window, boundariesMs: [] };
  });
  return JSON.stringify({ tree: bare, calendars } satisfies Text);
}

/** The inverse of `serializeTree`. Fails with `invalid` for a text that is no tree: somebody else wrote it. */
export function parseTree(text: string): TreeConfig {
  try {
    const { tree, calendars } = JSON.parse(text) as Text;
    return mapWindows(tree, (window) =>
      window.type === 'Calendar' ? { ...window, boundariesMs: calendars[calendarOf(window)] ?? [] } : window,
    );
  } catch (cause) {
    throw new AppError('invalid', 'the text of this tree cannot be read', { cause });
  }
}

function calendarOf({ period, timeZone }: Extract<Window, { type: 'Calendar' }>): string {
  return `${period} ${timeZone}`;
}

function mapWindows(tree: TreeConfig, map: (window: Window) => Window): TreeConfig {
  const limits = (all: readonly LimitConfig[]): LimitConfig[] =>
    all.map((limit) => ({ ...limit, window: map(limit.window) }));
  return { ...tree, nodes: tree.nodes.map((node) => ({ ...node, limits: limits(node.limits) })) };
}
