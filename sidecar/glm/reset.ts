/** Reset times in the vendor's messages. */

const STAMP =
  /(\d{4})-(\d\d)-(\d\d)[ T](\d\d):(\d\d):(\d\d)(?:\.\d{1,9})?(?: ?(Z\b|(?:UTC|GMT)(?:[+-]\d{1,2}(?::?\d\d)?)?|[+-]\d\d:?\d\d))?/;

const MINUTE_MS = 60_000;
const HOUR_MS = 3_600_000;
/** Stamps without a zone are in the vendor's own, UTC+8, in both regions. */
const VENDOR_OFFSET_MS = 8 * HOUR_MS;
const LONGEST_AHEAD_MS = 7 * 24 * HOUR_MS;
/** The vendor's clock and ours may differ a little; asking too early costs a refusal. */
const GRACE_MS = 3000;

/**
 * The time a message such as `Your limit will reset at 2026-09-09 05:38:28` states, in ms since the Unix epoch, plus
 * 3 s of grace; null when it states none. A stated zone wins; a bare stamp is UTC+8, or UTC when that would be more than
 * a minute past. At most 7 days ahead of `nowMs`; a time in the past means "already reset".
 */
export function parseResetMs(message: string, nowMs: number): number | null {
  const match = STAMP.exec(message);
  if (!match) return null;
  const utcMs = utcOf(match.slice(1, 7).map(Number));
  if (utcMs === null) return null;
  return Math.min(atZone(utcMs, match[7], nowMs) + GRACE_MS, nowMs + LONGEST_AHEAD_MS);
}

function atZone(utcMs: number, zone: string | undefined, nowMs: number): number {
  if (zone !== undefined) return utcMs - offsetMs(zone);
  const vendorMs = utcMs - VENDOR_OFFSET_MS;
  return vendorMs < nowMs - MINUTE_MS ? utcMs : vendorMs;
}

/** The fields as a UTC time; null when no such moment exists, as on February 30th. */
function utcOf(fields: readonly number[]): number | null {
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = fields;
  const ms = Date.UTC(year, month - 1, day, hour, minute, second);
  const back = new Date(ms);
  const exists = back.getUTCMonth() === month - 1 && back.getUTCDate() === day && back.getUTCHours() === hour;
  return exists && minute < 60 && second < 60 ? ms : null;
}

function offsetMs(zone: string): number {
  const match = /([+-])(\d{1,2}):?(\d\d)?$/.exec(zone);
  if (!match) return 0;
  const size = Number(match[2]) * HOUR_MS + Number(match[3] ?? 0) * MINUTE_MS;
  return match[1] === '-' ? -size : size;
}
