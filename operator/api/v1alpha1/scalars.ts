/** Parsers of the scalar forms that several kinds share: names, amounts, durations, times. */
import { mapped, string, type Parser } from './parse.ts';

/** A DNS label: what Kubernetes allows as the name of most things, and we as the name of a limit. */
export function label(max = 63): Parser<string> {
  return string({
    min: 1,
    max,
    pattern: /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/,
    hint: 'must be lower-case letters, digits and "-", starting and ending with a letter or digit',
  });
}

/** A routed model's name, as catalogs list it. */
export const modelName: Parser<string> = string({
  min: 1,
  max: 64,
  pattern: /^[a-z0-9]([a-z0-9._:/-]*[a-z0-9])?$/,
  hint: 'must be a model name in lower case, such as glm-5.3',
});

/** A time of day such as `14:00`, or `24:00` → minutes since midnight. */
export const minuteOfDay: Parser<number> = mapped(
  string({ max: 5, pattern: /^([01][0-9]|2[0-3]):[0-5][0-9]$|^24:00$/, hint: 'must be a time of day such as 14:00' }),
  (text) => Number(text.slice(0, 2)) * 60 + Number(text.slice(3)),
);

const UNIT_MS = { h: 3_600_000, m: 60_000, s: 1000, ms: 1 } as const;

/** `1h30m`, `4m`, `250ms` → milliseconds; 1 ms to `maxMs` unless `minMs` says otherwise. */
export function durationMs(rule: { minMs?: number; maxMs: number }): Parser<number> {
  const { minMs = 1, maxMs } = rule;
  const text = string({
    max: 28,
    pattern: /^([0-9]{1,5}(h|m|s|ms)){1,4}$/,
    hint: 'must be a duration such as 5h, 90s or 1h30m (units h, m, s, ms)',
  });
  return mapped(text, (value, at) => {
    let total = 0;
    for (const [, count, unit] of value.matchAll(/([0-9]+)(ms|h|m|s)/g)) {
      total += Number(count) * UNIT_MS[unit as keyof typeof UNIT_MS];
    }
    return total < minMs || total > maxMs ? at.fail(`must be from ${minMs} to ${maxMs} ms, is ${total}`) : total;
  });
}

/** An RFC 3339 time with its zone, such as `2026-09-25T00:00:00+08:00` → milliseconds since the Unix epoch. */
export function instantMs(): Parser<number> {
  const text = string({
    max: 35,
    pattern: /^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})$/,
    hint: 'must be an RFC 3339 time with a zone, such as 2026-09-25T00:00:00+08:00',
  });
  return mapped(text, (value, at) => {
    const ms = Date.parse(value);
    const [year = 0, month = 0, day = 0] = value.slice(0, 10).split('-').map(Number);
    // Date.parse lets February 30th overflow into March.
    const daysInMonth = new Date(Date.UTC(year, month, 0)).getUTCDate();
    return Number.isNaN(ms) || day > daysInMonth ? at.fail(`is not a time that exists: ${value}`) : ms;
  });
}

/**
 * A non-negative decimal, as an integer or a string such as `"1.40"`, → that number × 10^`scale`, exactly.
 * More than `scale` digits behind the point are a problem, never rounded; so is a result above `max`.
 */
export function decimal(rule: { scale: number; max?: number }): Parser<number> {
  const { scale, max = Number.MAX_SAFE_INTEGER } = rule;
  return (input, at) => {
    if (input === undefined || input === null) return at.fail('is required');
    const text = typeof input === 'number' && Number.isSafeInteger(input) ? input.toString() : input;
    if (typeof text !== 'string') return at.fail('must be an integer or a decimal in quotes, such as "1.40"');
    const match = /^([0-9]{1,16})(?:\.([0-9]{1,12}))?$/.exec(text);
    if (!match) return at.fail('must be a decimal number that is not negative, such as "1.40"');
    const fraction = (match[2] ?? '').replace(/0+$/, '');
    if (fraction.length > scale) return at.fail(`must have at most ${scale} digits behind the point`);
    const value = BigInt((match[1] ?? '') + fraction.padEnd(scale, '0'));
    return value > BigInt(max) ? at.fail('is too large to be counted exactly') : Number(value);
  };
}

/** A time zone this machine knows, such as `Asia/Shanghai` or `UTC`. */
export function timeZone(): Parser<string> {
  const text = string({ min: 1, max: 64, pattern: /^[A-Za-z][A-Za-z0-9_+-]*(\/[A-Za-z0-9_+-]+){0,2}$/ });
  return mapped(text, (value, at) =>
    isTimeZone(value) ? value : at.fail('must be an IANA time zone such as Asia/Shanghai or UTC'),
  );
}

/** Zones found to exist: asking is slow (a thousand quotas are parsed at once), and there are only some hundred. */
const KNOWN_ZONES = new Set<string>();

function isTimeZone(name: string): boolean {
  if (KNOWN_ZONES.has(name)) return true;
  try {
    new Intl.DateTimeFormat('en', { timeZone: name });
    KNOWN_ZONES.add(name);
    return true;
  } catch {
    return false;
  }
}
