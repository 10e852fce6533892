import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { scanObject } from '#sidecar/glm/json-scan.ts';

const FIELDS = ['model', 'stream', 'max_tokens'];
const wanted = new Set(FIELDS);
const isScalar = (value: unknown): boolean => typeof value !== 'object' || value === null;

const anyObject = fc.dictionary(
  fc.oneof(fc.constantFrom(...FIELDS), fc.string({ unit: 'binary' })),
  fc.oneof(fc.string({ unit: 'binary' }), fc.jsonValue({ maxDepth: 5 })),
  { noNullPrototype: true },
);
const spacing = fc.constantFrom(undefined, 1, '\t', ' \t ');

describe('the scanner', () => {
  test('reads what JSON.parse reads from every JSON object', () => {
    fc.assert(
      fc.property(anyObject, spacing, (value, space) => {
        const text = JSON.stringify(value, null, space);
        const parsed = JSON.parse(text) as Record<string, unknown>;
        const expected = Object.entries(parsed)
          .filter(([key]) => wanted.has(key))
          .map(([key, each]) => ({ key, value: isScalar(each) ? each : undefined }));
        expect(scanObject(Buffer.from(text), wanted)).toEqual({ kind: 'object', members: expected });
      }),
      { numRuns: 3000 },
    );
  });

  test('finds every object that was cut short', () => {
    fc.assert(
      fc.property(anyObject, fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true }), (value, fraction) => {
        const bytes = Buffer.from(JSON.stringify(value));
        const cut = bytes.subarray(0, Math.floor(fraction * bytes.length));
        expect(scanObject(cut, wanted).kind).toBe('broken');
      }),
      { numRuns: 3000 },
    );
  });

  test('never throws, whatever the bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        const body = Buffer.concat([Buffer.from('{"model":'), bytes]);
        expect(['object', 'broken']).toContain(scanObject(body, wanted).kind);
      }),
      { numRuns: 3000 },
    );
  });
});
