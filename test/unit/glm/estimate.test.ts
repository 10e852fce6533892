import { describe, expect, test } from 'vitest';
import { chargeOf, estimateRequest, EXPECTED_OUTPUT_TOKENS, FRAME_OVERHEAD_BYTES } from '#sidecar/glm/estimate.ts';
import type { ResponseFacts } from '#sidecar/glm/response.ts';

const request = { kind: 'call', model: 'm', stream: true, maxOutputTokens: null, bodyBytes: 4001 } as const;
const reserved = { inputTokens: 1000, cachedTokens: 0, outputTokens: 4096 };
const facts: ResponseFacts = {
  usage: null,
  usageIsFinal: false,
  model: 'm',
  error: null,
  broke: false,
  contentSeen: true,
  complete: true,
  frames: 10,
  dataBytes: 10 * FRAME_OVERHEAD_BYTES + 400,
};

describe('a reservation', () => {
  test('takes the whole body as uncached input', () => {
    expect(estimateRequest(request)).toEqual({
      inputTokens: 1001,
      cachedTokens: 0,
      outputTokens: EXPECTED_OUTPUT_TOKENS,
    });
  });

  test('takes the client’s bound when that is smaller', () => {
    expect(estimateRequest({ ...request, maxOutputTokens: 10 }).outputTokens).toBe(10);
    expect(estimateRequest({ ...request, maxOutputTokens: 99_999 }).outputTokens).toBe(EXPECTED_OUTPUT_TOKENS);
  });
});

describe('a charge', () => {
  const usage = { inputTokens: 40, cachedTokens: 60, outputTokens: 30 };

  test('is the vendor’s count when the response is whole', () => {
    expect(chargeOf({ ...facts, usage }, reserved, true)).toEqual({ usage, estimated: false });
  });

  test('without usage is the reserved input and the output that passed', () => {
    const expected = { inputTokens: 1000, cachedTokens: 0, outputTokens: 100 };
    expect(chargeOf(facts, reserved, true)).toEqual({ usage: expected, estimated: true });
  });

  test('counts at least one token a frame', () => {
    expect(chargeOf({ ...facts, dataBytes: 20 }, reserved, true).usage.outputTokens).toBe(10);
  });

  test('of a cut response that had no output has none', () => {
    const nothing = { ...facts, complete: false, contentSeen: false };
    expect(chargeOf(nothing, reserved, false).usage).toEqual({ ...reserved, outputTokens: 0 });
  });

  test('of an answer that was never read is the whole reservation', () => {
    const unread = { ...facts, complete: false, contentSeen: false, frames: 0, dataBytes: 0 };
    for (const ended of [true, false]) expect(chargeOf(unread, reserved, ended).usage).toEqual(reserved);
  });

  test('of a stream that ended without its last frame is the vendor’s, if counted after the output', () => {
    const ended = { ...facts, complete: false, usage };
    expect(chargeOf({ ...ended, usageIsFinal: true }, reserved, true)).toEqual({ usage, estimated: false });
    expect(chargeOf({ ...ended, usageIsFinal: true }, reserved, false).usage.outputTokens).toBe(100);
    expect(chargeOf(ended, reserved, true).usage.outputTokens).toBe(100);
  });

  test('of a cut response is at least the output that passed', () => {
    const cut = { ...facts, complete: false };
    const early = { ...usage, outputTokens: 1 };
    expect(chargeOf({ ...cut, usage: early }, reserved, false)).toEqual({
      usage: { ...usage, outputTokens: 100 },
      estimated: true,
    });
    const late = { ...usage, outputTokens: 500 };
    expect(chargeOf({ ...cut, usage: late }, reserved, false)).toEqual({ usage: late, estimated: false });
  });

  test('of a cut response that reported output only takes the reserved input', () => {
    const partial = { inputTokens: 0, cachedTokens: 0, outputTokens: 500 };
    expect(chargeOf({ ...facts, complete: false, usage: partial }, reserved, false).usage).toEqual({
      ...reserved,
      outputTokens: 500,
    });
  });
});
