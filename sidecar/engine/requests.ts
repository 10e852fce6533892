/** Requests → ARGV, checked: what is not an integer in bounds never reaches Redis. */
import { AppError } from '../base/errors.ts';
import { MAX_AMOUNT, type Amounts, type Settlement } from './terms.ts';

/** The seven amounts in the order `read_amounts` of `lua/leases.lua` takes them. */
export function amountArguments(amounts: Amounts): readonly string[] {
  const { requests, prompts, inputTokens, cachedTokens, outputTokens, microCredits, nanoCost } = amounts;
  const all = [requests, prompts, inputTokens, cachedTokens, outputTokens, microCredits, nanoCost];
  const tokens = inputTokens + cachedTokens + outputTokens;
  if ([...all, tokens].some((amount) => !Number.isSafeInteger(amount) || amount < 0 || amount > MAX_AMOUNT))
    throw new AppError('invalid', `amounts must be integers from 0 to ${MAX_AMOUNT}: ${all.join(' ')}`);
  return all.map(String);
}

export function settlementArguments(settlement: Settlement): readonly string[] {
  const { id, fence, outcome, actual, sentAfterMs, firstByteAfterMs } = settlement;
  return [id, String(fence), outcome, offset(sentAfterMs), offset(firstByteAfterMs), ...amountArguments(actual)];
}

/** An optional number; Lua reads the empty string as none. */
export function maybe(value: number | null): string {
  return value === null ? '' : String(value);
}

function offset(ms: number | null): string {
  if (ms === null) return '-1';
  if (!Number.isSafeInteger(ms) || ms < 0) throw new AppError('invalid', `an offset must be whole milliseconds: ${ms}`);
  return String(ms);
}
