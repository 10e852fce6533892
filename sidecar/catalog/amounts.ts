/** What one call counts on every level of a quota tree. */
import type { Amounts } from '../engine/terms.ts';
import { price, type PricedCall, type PriceList } from './price.ts';
import { route } from './route.ts';

/**
 * The amounts of one call: one request, one prompt (every call counts as one), its tokens, credits and list price.
 * `call.model` may be a requested or a responded name; it is routed first. Fails as `price` does.
 */
export function amountsOf(catalog: PriceList, call: PricedCall): Amounts {
  const { model } = route(catalog, call.model);
  const { inputTokens, cachedTokens, outputTokens } = call.usage;
  return { requests: 1, prompts: 1, inputTokens, cachedTokens, outputTokens, ...price(catalog, { ...call, model }) };
}
