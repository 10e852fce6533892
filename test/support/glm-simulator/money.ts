/** The oracle's arithmetic, exact in integers: nano-credits, nano-prompts and nano-dollars (10⁻⁹). */
import { creditPercent, isPeak, type Facts, type Rates } from './facts.ts';

/** `input` excludes `cached`; `output` includes `reasoning`. */
export interface Tokens {
  input: number;
  cached: number;
  output: number;
  reasoning: number;
}

export const NANO = 1_000_000_000;

/** Rates carry at most three decimals; as thousandths they are integers. */
const thousandths = (rate: number): number => Math.round(rate * 1000);

function weigh(tokens: Tokens, rates: Rates): number {
  return (
    tokens.input * thousandths(rates.input) +
    tokens.cached * thousandths(rates.cached) +
    tokens.output * thousandths(rates.output)
  );
}

/** Credits × 10⁹: coefficients are credits per ten thousand tokens, halved off-peak. */
export function nanoCredits(facts: Facts, model: string, tokens: Tokens, atMs: number): number {
  const rates = facts.models[model]?.credits;
  return rates ? weigh(tokens, rates) * creditPercent(facts, model, atMs) : 0;
}

/** List price × 10⁹ in the currency. */
export function nanoMoney(facts: Facts, model: string, tokens: Tokens, currency: 'usd' | 'cny'): number {
  const rates = facts.models[model]?.[currency];
  return rates ? weigh(tokens, rates) : 0;
}

/** Prompts × 10⁹ one call costs on a plan with model weights. */
export function nanoPrompts(facts: Facts, model: string, isWeighted: boolean, atMs: number): number {
  const weight = facts.models[model]?.promptWeight;
  if (!isWeighted || !weight) return NANO;
  return ((isPeak(facts, atMs) ? weight.peakPercent : weight.offPeakPercent) * NANO) / 100;
}
