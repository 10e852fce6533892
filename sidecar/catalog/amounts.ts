/** What one call counts on every level of a quota tree. */
import type { Amounts } from '../engine/tree-terms.ts';
import { price, type PricedCall, type PriceList } from './price.ts';
import { route } from './route.ts';

/** A call with what no price list knows. */
export interface CountedCall extends PricedCall {
  /** Declared by the caller, for tools; default 0. */
  readonly costUnits?: number;
  /**
   * Run time. At least one second is counted: a call that asked for none would still be admitted by a window that is
   * used up to the last second.
   */
  readonly runtimeSeconds?: number;
}

/**
 * The amounts of one call: one request, one prompt (every call counts as one), its tokens, credits and list price, and
 * what its caller declares. `call.model` may be a requested or a responded name; it is routed first. Fails as `price` does.
 */
export function amountsOf(catalog: PriceList, call: CountedCall): Amounts {
  const { model } = route(catalog, call.model);
  const { costUnits = 0, runtimeSeconds = 0 } = call;
  const { inputTokens, cachedTokens, outputTokens } = call.usage;
  const declared = { costUnits, runtimeSeconds: Math.max(1, Math.ceil(runtimeSeconds)) };
  const tokens = { inputTokens, cachedTokens, outputTokens };
  return { requests: 1, prompts: 1, ...tokens, ...price(catalog, { ...call, model }), ...declared };
}
