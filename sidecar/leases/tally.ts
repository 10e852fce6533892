/** Arithmetic on amounts. Pure. */
import type { Amounts, Resource } from '../engine/tree-terms.ts';

export const NO_AMOUNTS: Amounts = {
  requests: 0,
  prompts: 0,
  inputTokens: 0,
  cachedTokens: 0,
  outputTokens: 0,
  microCredits: 0,
  nanoCost: 0,
  costUnits: 0,
  runtimeSeconds: 0,
};

/** `one` + `factor` × `other`. */
export function plus(one: Amounts, other: Amounts, factor: 1 | -1 = 1): Amounts {
  return {
    requests: one.requests + factor * other.requests,
    prompts: one.prompts + factor * other.prompts,
    inputTokens: one.inputTokens + factor * other.inputTokens,
    cachedTokens: one.cachedTokens + factor * other.cachedTokens,
    outputTokens: one.outputTokens + factor * other.outputTokens,
    microCredits: one.microCredits + factor * other.microCredits,
    nanoCost: one.nanoCost + factor * other.nanoCost,
    costUnits: one.costUnits + factor * other.costUnits,
    runtimeSeconds: one.runtimeSeconds + factor * other.runtimeSeconds,
  };
}

/** What a limit on this resource counts. */
export const QUANTITY: Readonly<Record<Resource, (amounts: Amounts) => number>> = {
  Requests: ({ requests }) => requests,
  Prompts: ({ prompts }) => prompts,
  InputTokens: ({ inputTokens }) => inputTokens,
  CachedTokens: ({ cachedTokens }) => cachedTokens,
  OutputTokens: ({ outputTokens }) => outputTokens,
  Tokens: ({ inputTokens, cachedTokens, outputTokens }) => inputTokens + cachedTokens + outputTokens,
  Credits: ({ microCredits }) => microCredits,
  Cost: ({ nanoCost }) => nanoCost,
  CostUnits: ({ costUnits }) => costUnits,
  RuntimeSeconds: ({ runtimeSeconds }) => runtimeSeconds,
};
