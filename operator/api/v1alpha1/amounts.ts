/** Amounts as people write them (`10`, `"2.5"`) and as the engine counts them (integers: micro-credits, nano-currency). */
import { RESOURCES, type Resource } from '../../../sidecar/engine/tree-terms.ts';
import { oneOf, optional, parseWith, string, type Parsed, type Parser } from './parse.ts';
import { decimal } from './scalars.ts';

/** Digits behind the point that a resource keeps; the engine counts in units of 10^-digits. */
const DIGITS: Readonly<Record<Resource, number>> = {
  Requests: 0,
  Prompts: 0,
  InputTokens: 0,
  CachedTokens: 0,
  OutputTokens: 0,
  Tokens: 0,
  Credits: 6,
  Cost: 9,
  CostUnits: 0,
  RuntimeSeconds: 0,
};

/**
 * The largest amount a limit may state, in the engine's integer unit. Below 2^53 by 7 × 10^12, so that what calls
 * use beyond their reservation can still be counted exactly (rule L2).
 */
export const MAX_LIMIT_AMOUNT = 9_000_000_000_000_000;

/** `text` as the engine counts `resource`; more digits than the resource keeps are a problem, never rounded. */
export function amountIn(resource: Resource, text: string, path: string): Parsed<number> {
  return parseWith(decimal({ scale: DIGITS[resource], max: MAX_LIMIT_AMOUNT }), text, path);
}

/** The engine's integer as people write it, without trailing zeros: 2_500_000 Credits → `2.5`. */
export function formatAmount(resource: Resource, amount: number): string {
  const digits = DIGITS[resource];
  if (digits === 0) return amount.toString();
  const text = amount.toString().padStart(digits + 1, '0');
  const fraction = text.slice(-digits).replace(/0+$/, '');
  return text.slice(0, -digits) + (fraction === '' ? '' : `.${fraction}`);
}

/** What a limit's `amount` says; `text` is a decimal that `amountIn` turns into the engine's unit. */
export type AmountSpec =
  | { readonly kind: 'Absolute'; readonly text: string }
  /** Of the nearest ancestor's limit of the same name; 0 to 100. */
  | { readonly kind: 'Percent'; readonly percent: number };

const decimalText: Parser<string> = string({
  pattern: /^(0|[1-9][0-9]{0,15})(\.[0-9]{1,9})?$/,
  hint: 'must be a number that is not negative, such as 100 or "2.50"',
});

/** An absolute amount: an integer or a decimal in quotes. */
export const absoluteAmount: Parser<AmountSpec> = (input, at) => {
  if (typeof input === 'number' && (!Number.isInteger(input) || input < 0))
    return at.fail('must be an integer that is not negative; write decimals in quotes, such as "2.50"');
  const text = decimalText(typeof input === 'number' ? BigInt(input).toString() : input, at);
  if (typeof text !== 'string') return text;
  // The bound in units of the resource is checked where the resource is known; this one holds for all.
  if (BigInt(text.split('.')[0] ?? '') > BigInt(MAX_LIMIT_AMOUNT))
    return at.fail(`must be at most ${MAX_LIMIT_AMOUNT}`);
  return { kind: 'Absolute', text };
};

/** An absolute amount or a percentage such as `"40%"`. */
export const amount: Parser<AmountSpec> = (input, at) => {
  const match = typeof input === 'string' ? /^([0-9]{1,3})%$/.exec(input) : null;
  if (!match) return absoluteAmount(input, at);
  const percent = Number(match[1]);
  return percent > 100 ? at.fail('must be at most 100%') : { kind: 'Percent', percent };
};

export const resource: Parser<Resource> = oneOf(RESOURCES);

/** Names a resource; null when the field is absent. */
export const resourceOrNull: Parser<Resource | null> = optional(resource);
