/** What a call costs, and which window pays. */
import type { Call } from './admission.ts';
import type { Ending } from './ledger.ts';
import { nanoCredits, nanoMoney, type Tokens } from './money.ts';
import type { Answer } from './surfaces/surface.ts';
import type { Vendor } from './vendor.ts';

export interface Bill {
  tokens: Tokens;
  nanoCredits: number;
  nanoPrompts: number;
  nanoUsd: number;
  nanoCny: number;
}

/** How far an answer got. */
export interface Progress {
  ending: Ending;
  answer: Answer | undefined;
  /** Output tokens handed over; undefined before the first byte. */
  delivered: number | undefined;
}

const nothing: Tokens = { input: 0, cached: 0, output: 0, reasoning: 0 };

/** A call that was refused, or that the vendor lost before its first byte, costs nothing. */
function isFree(vendor: Vendor, { ending, delivered }: Progress): boolean {
  if (ending === 'Completed') return false;
  const isLost = ending === 'Broken' && delivered === undefined;
  return ending === 'Refused' || isLost || vendor.knobs.accounting.billAborted === 'None';
}

function tokensOf(vendor: Vendor, progress: Progress): Tokens {
  const usage = progress.answer?.usage;
  if (!usage || isFree(vendor, progress)) return nothing;
  const isWhole = progress.ending === 'Completed' || vendor.knobs.accounting.billAborted === 'Full';
  const output = isWhole ? usage.output : (progress.delivered ?? 0);
  return {
    input: usage.prompt - usage.cached,
    cached: usage.cached,
    output,
    reasoning: Math.min(output, usage.reasoning),
  };
}

/** Bill of a call; credits and prompts are for calls on the plan. */
export function billOf(vendor: Vendor, call: Call | undefined, progress: Progress): Bill {
  const tokens = tokensOf(vendor, progress);
  if (!call) return { tokens, nanoCredits: 0, nanoPrompts: 0, nanoUsd: 0, nanoCny: 0 };
  const { facts } = vendor;
  const { routed, atMs, isOnPlan } = call;
  return {
    tokens,
    nanoCredits: isOnPlan ? nanoCredits(facts, routed, tokens, atMs) : 0,
    nanoPrompts: isFree(vendor, progress) ? 0 : call.nanoPrompts,
    nanoUsd: nanoMoney(facts, routed, tokens, 'usd'),
    nanoCny: nanoMoney(facts, routed, tokens, 'cny'),
  };
}

/** Credits are charged at the end; prompts were at the start, and a free call gets its own back. */
export function charge(vendor: Vendor, call: Call, bill: Bill): void {
  const { account, spans } = call;
  if (!call.isOnPlan) account.balanceNanoUsd -= bill.nanoUsd;
  const nowMs = vendor.clock.nowMs();
  for (const [index, span] of spans.entries()) {
    const window = account.windows[index];
    if (!window) continue;
    if (window.config.resource === 'Prompts') {
      if (bill.nanoPrompts < call.nanoPrompts) window.chargeSpan(span, nowMs, bill.nanoPrompts - call.nanoPrompts);
    } else if (bill.nanoCredits > 0) {
      if (vendor.knobs.accounting.chargeTo === 'Arrival') window.chargeSpan(span, nowMs, bill.nanoCredits);
      else window.charge(nowMs, bill.nanoCredits);
    }
  }
}
