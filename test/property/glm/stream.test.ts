import fc from 'fast-check';
import { describe, test, expect } from 'vitest';
import { createResponseReader, type ResponseFacts } from '#sidecar/glm/response.ts';
import { SseSplitter } from '#sidecar/glm/sse.ts';
import { SURFACES, type Surface } from '#sidecar/glm/terms.ts';

/** Cut positions as fractions, so that they fit a text of any length. */
const cuts = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 40 });

function pieces(bytes: Buffer, fractions: readonly number[]): Buffer[] {
  const at = [0, ...fractions.map((each) => Math.floor(each * bytes.length)), bytes.length].toSorted((a, b) => a - b);
  return at.slice(1).map((end, index) => bytes.subarray(at[index], end));
}

function framesOf(chunks: readonly Buffer[]): [string, string][] {
  const frames: [string, string][] = [];
  const splitter = new SseSplitter(({ event, data }) => frames.push([event, data.toString('latin1')]));
  for (const chunk of chunks) {
    // The memory is used again at once, as a pooled buffer would be.
    const copy = Buffer.from(chunk);
    splitter.push(copy);
    copy.fill(0x2e);
  }
  splitter.end();
  return frames;
}

function factsOf(surface: Surface, chunks: readonly Buffer[]): ResponseFacts {
  const reader = createResponseReader({ surface, contentType: 'text/event-stream' });
  for (const chunk of chunks) reader.push(chunk);
  return reader.end();
}

const line = fc.oneof(
  fc.constantFrom('data: a', 'data:', 'data', ': note', 'event: x', 'id: 7', '', 'data: [DONE]', 'data: {"usage":'),
  fc.string({ maxLength: 30 }).map((text) => `data: ${text}`),
);
const ending = fc.constantFrom('\n', '\r\n', '\r');
const anyText = fc.array(fc.tuple(line, ending), { maxLength: 40 }).map((rows) => rows.flat().join(''));

const count = fc.nat({ max: 2_000_000 });
const usage = fc.oneof(
  fc.record({
    prompt_tokens: count,
    completion_tokens: count,
    prompt_tokens_details: fc.record({ cached_tokens: count }),
  }),
  fc.record({ input_tokens: count, output_tokens: count, cache_read_input_tokens: count }),
);
const model = fc.constantFrom('glm-5.3', 'glm-5.3-flash');
const frame = fc.oneof(
  fc.record({ model, choices: fc.constant([{ delta: { content: 'word' }, finish_reason: null }]) }),
  fc.record({ type: fc.constantFrom('ping', 'message_stop', 'content_block_delta', 'response.completed'), usage }),
  fc.record({ type: fc.constant('message_start'), message: fc.record({ model, usage }) }),
  fc.record({ error: fc.record({ code: fc.constantFrom('1302', '1308'), message: fc.string() }) }),
  fc.record({ usage }),
  fc.string(),
);
const newline = fc.constantFrom('\n', '\r\n');
const stream = fc
  .array(fc.tuple(frame, newline, fc.boolean()), { maxLength: 20 })
  .map((frames) =>
    frames
      .map(([json, nl, comment]) => `${comment ? `: ping${nl}` : ''}data: ${JSON.stringify(json)}${nl}${nl}`)
      .join(''),
  );

describe('streams', () => {
  test('are split the same however they are cut', () => {
    fc.assert(
      fc.property(anyText, cuts, (text, fractions) => {
        const bytes = Buffer.from(text);
        expect(framesOf(pieces(bytes, fractions))).toEqual(framesOf([bytes]));
      }),
      { numRuns: 3000 },
    );
  });

  test('tell the same facts however they are cut', () => {
    fc.assert(
      fc.property(fc.constantFrom(...SURFACES), stream, cuts, (surface, text, fractions) => {
        const bytes = Buffer.from(text);
        expect(factsOf(surface, pieces(bytes, fractions))).toEqual(factsOf(surface, [bytes]));
      }),
      { numRuns: 2000 },
    );
  });

  test('report no less usage when more of them has come', () => {
    const total = (facts: ResponseFacts): number =>
      (facts.usage?.inputTokens ?? 0) + (facts.usage?.cachedTokens ?? 0) + (facts.usage?.outputTokens ?? 0);
    fc.assert(
      fc.property(stream, fc.double({ min: 0, max: 1, noNaN: true }), (text, fraction) => {
        const bytes = Buffer.from(text);
        const part = factsOf('Anthropic', [bytes.subarray(0, Math.floor(fraction * bytes.length))]);
        expect(total(part)).toBeLessThanOrEqual(total(factsOf('Anthropic', [bytes])));
      }),
      { numRuns: 1000 },
    );
  });
});
