/** What the simulated vendor knows about itself. Its own file and its own arithmetic: nothing is shared with the product. */
import defaults from './facts.json' with { type: 'json' };

/** Price of a million tokens, or credit coefficient per ten thousand tokens: at most three decimals. */
export interface Rates {
  input: number;
  cached: number;
  output: number;
}

interface ModelFacts {
  contextTokens?: number;
  /** `thinking: {type: "disabled"}` is answered with 1210. */
  thinkingRequired?: boolean;
  /** Shown by `/models`; the vendor's own list is incomplete. */
  listed?: boolean;
  credits?: Rates;
  promptWeight?: { peakPercent: number; offPeakPercent: number };
  usd?: Rates;
  cny?: Rates;
}

export interface PlanFacts {
  level: string;
  rowType: string;
  resource: 'Prompts' | 'Credits';
  /** Peak hours and model weights apply. */
  weighted: boolean;
  fiveHour: number;
  weekly?: number;
  mcpCalls?: number;
}

export interface ErrorFacts {
  status: number;
  /** Status on the Anthropic surface where it differs. */
  messagesStatus?: number;
  en: string;
  zh: string;
  /** A used-up window: the Anthropic surface may add `retry-after`. */
  quota?: boolean;
}

export interface Facts {
  clockOffsetMinutes: number;
  peak: { weekdays: number[]; fromHour: number; toHour: number; offPeakPercent: number };
  promotions: { from: string; to: string; models: string[]; percent: number }[];
  models: Record<string, ModelFacts>;
  planRouting: Record<string, string>;
  plans: Record<string, PlanFacts>;
  planModels: string[];
  errors: Record<string, ErrorFacts>;
}

/** The facts shipped beside this file. */
export const vendorFacts: Facts = defaults as unknown as Facts;

const twoDigits = (value: number): string => String(value).padStart(2, '0');

/** The vendor's naive stamp, `YYYY-MM-DD HH:mm:ss` in UTC+8 whatever the region. */
export function naiveStamp(facts: Facts, atMs: number): string {
  const at = new Date(atMs + facts.clockOffsetMinutes * 60_000);
  const day = `${at.getUTCFullYear()}-${twoDigits(at.getUTCMonth() + 1)}-${twoDigits(at.getUTCDate())}`;
  return `${day} ${twoDigits(at.getUTCHours())}:${twoDigits(at.getUTCMinutes())}:${twoDigits(at.getUTCSeconds())}`;
}

/** Whether `atMs` lies in the vendor's peak hours. */
export function isPeak(facts: Facts, atMs: number): boolean {
  const local = new Date(atMs + facts.clockOffsetMinutes * 60_000);
  const hour = local.getUTCHours();
  const { weekdays, fromHour, toHour } = facts.peak;
  return weekdays.includes(local.getUTCDay()) && hour >= fromHour && hour < toHour;
}

const instants = new Map<string, number>();

/** `Date.parse`, once per text: it is asked for every call. */
function instantOf(text: string): number {
  const known = instants.get(text);
  if (known !== undefined) return known;
  const instant = Date.parse(text);
  instants.set(text, instant);
  return instant;
}

/** Percent of the printed coefficients charged for `model` at `atMs`. */
export function creditPercent(facts: Facts, model: string, atMs: number): number {
  const promotion = facts.promotions.find(
    ({ from, to, models }) =>
      atMs >= instantOf(from) && atMs < instantOf(to) && (models.includes('*') || models.includes(model)),
  );
  if (promotion) return promotion.percent;
  return isPeak(facts, atMs) ? 100 : facts.peak.offPeakPercent;
}
