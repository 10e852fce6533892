/** Token counts where the vendor has not said any: before a call, and after one that was cut. */
import { MAX_CALL_TOKENS } from '../catalog/terms.ts';
import type { TokenUsage } from '../leases/terms.ts';
import type { ReadRequest } from './request.ts';
import type { ResponseFacts } from './response.ts';

/** Prompts in English or code take about four bytes of JSON a token; Chinese ones about the same, at three bytes a character. */
const BYTES_PER_TOKEN = 4;
/** Agents allow tens of thousands of output tokens and use a few: reserving all of them would strand the window. */
export const EXPECTED_OUTPUT_TOKENS = 4096;
/** Field names and ids around the text of one streamed frame. */
export const FRAME_OVERHEAD_BYTES = 180;

/** What to reserve for a call: its whole body as uncached input, and what it may put out, up to what calls usually do. */
export function estimateRequest(request: Extract<ReadRequest, { kind: 'call' }>): TokenUsage {
  return {
    inputTokens: tokensOf(request.bodyBytes),
    cachedTokens: 0,
    outputTokens: Math.min(request.maxOutputTokens ?? EXPECTED_OUTPUT_TOKENS, EXPECTED_OUTPUT_TOKENS),
  };
}

export interface Charge {
  readonly usage: TokenUsage;
  /** True: the vendor did not report this. */
  readonly estimated: boolean;
}

/**
 * What to charge for a call that got an answer: the vendor's counts where they are final. A cut response is charged its
 * reported (else reserved) input and at least the output that was seen pass; one of which nothing could be read, as
 * when the client hangs up before it comes, its whole reservation. `ended`: the HTTP response came to its end.
 */
export function chargeOf(facts: ResponseFacts, reserved: TokenUsage, ended: boolean): Charge {
  const { usage } = facts;
  if (usage && (facts.complete || (ended && facts.usageIsFinal))) return { usage, estimated: false };
  const seen = facts.contentSeen ? outputSeen(facts) : 0;
  if (!usage) {
    const isUnread = !facts.contentSeen && facts.frames === 0;
    return { usage: isUnread ? reserved : { ...reserved, outputTokens: seen }, estimated: true };
  }
  const { inputTokens, cachedTokens } = usage.inputTokens + usage.cachedTokens > 0 ? usage : reserved;
  // Counts come with the last frames only: where they are larger than what was seen, they are the vendor's own.
  const outputTokens = Math.max(usage.outputTokens, seen);
  return { usage: { inputTokens, cachedTokens, outputTokens }, estimated: outputTokens !== usage.outputTokens };
}

/** At least one token a frame. */
function outputSeen({ frames, dataBytes }: ResponseFacts): number {
  return Math.max(frames, tokensOf(Math.max(0, dataBytes - frames * FRAME_OVERHEAD_BYTES)));
}

function tokensOf(bytes: number): number {
  return Math.min(Math.ceil(bytes / BYTES_PER_TOKEN), MAX_CALL_TOKENS);
}
