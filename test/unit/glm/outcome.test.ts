import { describe, expect, test } from 'vitest';
import { outcomeOf, type CallEnd } from '#sidecar/glm/outcome.ts';

const whole: CallEnd = { sent: true, status: 200, failure: null, contentSeen: true, ending: 'whole' };
const before: CallEnd = { ...whole, contentSeen: false };
const broke: CallEnd = { ...before, ending: 'upstreamBroke' };
const cut: CallEnd = { ...before, ending: 'cutByUs' };

describe('a call', () => {
  test.each([
    ['answered whole', whole, 'completed'],
    ['answered whole without visible content', before, 'completed'],
    ['that never left', { ...broke, sent: false, status: null }, 'neverSent'],
    ['cut by us before it left', { ...cut, sent: false, status: null }, 'neverSent'],
    ['refused for concurrency', { ...before, status: 429, failure: 'Concurrency' }, 'refusedConcurrency'],
    ['refused for rate', { ...before, status: 429, failure: 'Rate' }, 'refusedRate'],
    ['refused for overload', { ...before, status: 529, failure: 'Overload' }, 'refusedOverload'],
    ['refused for a used-up window', { ...before, status: 429, failure: 'Quota' }, 'refusedQuota'],
    ['refused as the account is stopped, with 429', { ...before, status: 429, failure: 'AccountStop' }, 'refusedRate'],
    ['refused for its key', { ...before, status: 401, failure: 'AccountStop' }, 'rejected'],
    ['that was wrong', { ...before, status: 400, failure: 'ClientError' }, 'rejected'],
    ['for a model not in the plan', { ...before, status: 429, failure: 'ClientError' }, 'rejected'],
    ['answered by a server error', { ...before, status: 500, failure: 'Retry' }, 'failedBeforeFirstByte'],
    ['whose connection broke before any answer', { ...broke, status: null }, 'failedBeforeFirstByte'],
    ['whose error body was cut', { ...broke, status: 502, failure: 'Retry' }, 'failedBeforeFirstByte'],
    ['refused inside a success, before any output', { ...before, failure: 'Concurrency' }, 'refusedConcurrency'],
    ['that failed inside a success, before any output', { ...before, failure: 'Retry' }, 'failedBeforeFirstByte'],
    ['that failed after some output', { ...whole, failure: 'Retry' }, 'brokeMidStream'],
    ['refused after some output', { ...whole, failure: 'Concurrency' }, 'brokeMidStream'],
    ['whose stream broke after some output', { ...broke, contentSeen: true }, 'brokeMidStream'],
    ['whose stream broke after a good head', broke, 'brokeMidStream'],
    ['whose client left before any answer', { ...cut, status: null }, 'brokeMidStream'],
    ['whose client left in the middle', { ...cut, contentSeen: true }, 'brokeMidStream'],
    ['whose client left while it was refused', { ...cut, status: 429, failure: 'Quota' }, 'refusedQuota'],
  ] as const)('%s', (_, end, outcome) => {
    expect(outcomeOf(end)).toBe(outcome);
  });
});
