/**
 * What a call costs, in integers. Sums are exact (BigInt), rounded once, half up, to one micro-credit or one
 * nano-unit of the currency; nothing is ever negative.
 */
import { AppError } from '../base/errors.ts';
import type { TokenUsage } from '../leases/terms.ts';
import { factorPpm } from './schedule.ts';
import {
  OTHER_MODEL,
  type Catalog,
  type CatalogPrice,
  type CreditCoefficients,
  type Currency,
  type PriceTier,
} from './terms.ts';

/** The part of a catalog that prices calls. */
export type PriceList = Pick<Catalog, 'models' | 'prices' | 'credits' | 'schedule'>;

export interface PricedCall {
  /** Routed model name (`route`); one without rows of its own is counted by those of `other`. */
  readonly model: string;
  readonly usage: TokenUsage;
  /** When the call was made: peak hours and promotions are looked up at this moment. */
  readonly atMs: number;
  readonly currency: Currency;
}

export interface Price {
  /** Plan credits × 10^6. */
  readonly microCredits: number;
  /** List price × 10^9; no schedule applies to money. */
  readonly nanoCost: number;
}

const TOKENS_PER_CREDIT_ROW = 10_000n;
const TOKENS_PER_PRICE_ROW = 1_000_000n;
const PPM = 1_000_000n;

/**
 * Both amounts of one call; zero where the catalog has neither the model's row nor one of `other`.
 * Never fails for usage up to MAX_CALL_TOKENS a field under a catalog within its schema's bounds; else AppError
 * `invalid` when a count is no safe non-negative integer or the result is above 2^53 - 1.
 */
export function price(catalog: PriceList, call: PricedCall): Price {
  checkUsage(call.usage);
  return { microCredits: microCredits(catalog, call), nanoCost: nanoCost(catalog, call) };
}

function microCredits(catalog: PriceList, { model, usage, atMs }: PricedCall): number {
  const row = creditsOf(catalog.credits, model);
  if (!row) return 0;
  const sum = weighted(usage, { input: row.inputMicro, cached: row.cachedMicro, output: row.outputMicro });
  const factor = BigInt(factorPpm(catalog.schedule, model, atMs));
  return toSafe(divideHalfUp(sum * factor, TOKENS_PER_CREDIT_ROW * PPM), 'credits');
}

function nanoCost(catalog: PriceList, { model, usage, currency }: PricedCall): number {
  const row = priceOf(catalog.prices, model, currency);
  const tier = row && tierOf(row.tiers, usage.inputTokens + usage.cachedTokens);
  if (!tier) return 0;
  const sum = weighted(usage, { input: tier.inputNano, cached: tier.cachedNano, output: tier.outputNano });
  return toSafe(divideHalfUp(sum, TOKENS_PER_PRICE_ROW), 'cost');
}

function creditsOf(rows: readonly CreditCoefficients[], model: string): CreditCoefficients | undefined {
  return rows.find((row) => row.model === model) ?? rows.find((row) => row.model === OTHER_MODEL);
}

function priceOf(rows: readonly CatalogPrice[], model: string, currency: Currency): CatalogPrice | undefined {
  const listed = rows.filter((row) => row.currency === currency);
  return listed.find((row) => row.model === model) ?? listed.find((row) => row.model === OTHER_MODEL);
}

/** The first tier that covers the prompt; a prompt longer than every bound counts at the last one. */
function tierOf(tiers: readonly PriceTier[], promptTokens: number): PriceTier | undefined {
  return tiers.find((tier) => tier.upToInputTokens === null || promptTokens <= tier.upToInputTokens) ?? tiers.at(-1);
}

function weighted(usage: TokenUsage, rates: { input: number; cached: number; output: number }): bigint {
  return (
    BigInt(usage.inputTokens) * BigInt(rates.input) +
    BigInt(usage.cachedTokens) * BigInt(rates.cached) +
    BigInt(usage.outputTokens) * BigInt(rates.output)
  );
}

function divideHalfUp(amount: bigint, by: bigint): bigint {
  return (amount * 2n + by) / (by * 2n);
}

function toSafe(amount: bigint, what: string): number {
  if (amount > BigInt(Number.MAX_SAFE_INTEGER)) {
    throw new AppError('invalid', `the ${what} of one call cannot be counted exactly`, {
      fields: { amount: amount.toString() },
    });
  }
  return Number(amount);
}

function checkUsage(usage: TokenUsage): void {
  for (const [field, count] of Object.entries(usage) as [string, number][]) {
    if (Number.isSafeInteger(count) && count >= 0) continue;
    throw new AppError('invalid', `${field} must be a whole number of tokens`, { fields: { [field]: count } });
  }
}
