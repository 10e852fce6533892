/** What a client says about its call in `x-glmquota-*` headers, checked: errors are `invalid` and name the header. */
import { AppError } from '../base/errors.ts';
import { PRIORITY_CLASSES, type PriorityClass } from '../engine/tree-terms.ts';
import type { Claims } from '../leases/terms.ts';

const OURS = 'x-glmquota-';
const ATTRIBUTES = ['tool', 'capability', 'source', 'user'] as const;
type Attribute = (typeof ATTRIBUTES)[number];

const VALUE = /^\P{Cc}{1,128}$/u;
const DURATION = /^(?:\d{1,5}(?:h|ms|m|s)){1,4}$/;
const PART = /(\d+)(h|ms|m|s)/g;
const MS_OF: Readonly<Record<string, number>> = { h: 3_600_000, m: 60_000, s: 1000, ms: 1 };

/** `raw`: names and values as they came off the wire; of a header given twice the first counts. */
export function parseClaims(raw: readonly string[]): Claims {
  const given = new Map<string, string>();
  for (let i = 0; i < raw.length; i += 2) {
    const name = raw[i] ?? '';
    if (name.length <= OURS.length || !name.toLowerCase().startsWith(OURS)) continue;
    const key = name.slice(OURS.length).toLowerCase();
    if (!given.has(key)) given.set(key, (raw[i + 1] ?? '').trim());
  }
  return given.size === 0 ? NO_CLAIMS : claimsOf(given);
}

const NO_CLAIMS: Claims = {};

function claimsOf(given: ReadonlyMap<string, string>): Claims {
  const attributes: Partial<Record<Attribute, string>> = {};
  for (const name of ATTRIBUTES) {
    const value = given.get(name);
    if (value !== undefined) attributes[name] = checked(name, value);
  }
  const priority = given.get('priority');
  const maxWait = given.get('max-wait');
  return {
    attributes,
    ...(priority === undefined ? {} : { class: classOf(priority) }),
    ...(maxWait === undefined ? {} : { maxWaitMs: durationMs(maxWait) }),
  };
}

function checked(name: string, value: string): string {
  if (!VALUE.test(value)) throw invalid(name, 'must have 1 to 128 characters, none of them a control character');
  return value;
}

function classOf(value: string): PriorityClass {
  const known = PRIORITY_CLASSES.find((each) => each.toLowerCase() === value.toLowerCase());
  if (known === undefined) throw invalid('priority', `must be one of ${PRIORITY_CLASSES.join(', ')}`);
  return known;
}

function durationMs(value: string): number {
  if (value === '0') return 0;
  if (!DURATION.test(value)) throw invalid('max-wait', 'must be a duration such as 30s, 1m30s or 0');
  let ms = 0;
  for (const [, amount, unit = ''] of value.matchAll(PART)) ms += Number(amount) * (MS_OF[unit] ?? 0);
  return ms;
}

function invalid(name: string, problem: string): AppError {
  return new AppError('invalid', `the header ${OURS}${name} ${problem}`);
}
