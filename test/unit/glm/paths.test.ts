import { describe, expect, test } from 'vitest';
import { destinationOf } from '#sidecar/glm/paths.ts';

describe('metered paths', () => {
  test.each([
    ['/api/coding/paas/v4/chat/completions', 'CodingPlan', 'OpenAI'],
    ['/api/coding/paas/v4/chat/completions', 'TeamSeat', 'OpenAI'],
    ['/api/paas/v4/chat/completions', 'PayAsYouGo', 'OpenAI'],
    ['/api/anthropic/v1/messages', 'CodingPlan', 'Anthropic'],
    ['/api/anthropic/v1/messages?beta=true', 'TeamSeat', 'Anthropic'],
    ['/api/v1/responses', 'CodingPlan', 'Responses'],
  ] as const)('POST %s with %s is a call on the %s surface', (path, billing, surface) => {
    expect(destinationOf('POST', path, billing)).toEqual({ kind: 'metered', surface });
  });
});

describe('free paths', () => {
  test.each([
    ['GET', '/api/monitor/usage/quota/limit'],
    ['GET', '/api/monitor/usage/model-usage?startTime=a&endTime=b'],
    ['GET', '/api/coding/paas/v4/models'],
    ['GET', '/api/coding/paas/v4/models/glm-5.3'],
    ['GET', '/api/anthropic/v1/models'],
    ['GET', '/api/v1/models'],
    ['POST', '/api/anthropic/v1/messages/count_tokens'],
  ])('%s %s passes without a lease', (method, path) => {
    expect(destinationOf(method, path, 'CodingPlan').kind).toBe('free');
  });
});

describe('paths of the other billing', () => {
  test.each([
    ['/api/paas/v4/chat/completions', 'CodingPlan', '/api/coding/paas/v4/chat/completions'],
    ['/api/paas/v4/chat/completions', 'TeamSeat', '/api/coding/paas/v4/chat/completions'],
    ['/api/coding/paas/v4/chat/completions', 'PayAsYouGo', '/api/paas/v4/chat/completions'],
    ['/api/anthropic/v1/messages', 'PayAsYouGo', '/api/paas/v4/chat/completions'],
    ['/api/v1/responses', 'PayAsYouGo', '/api/paas/v4/chat/completions'],
  ] as const)('%s with %s names %s', (path, billing, rightPath) => {
    const destination = destinationOf('POST', path, billing);
    expect(destination).toMatchObject({ kind: 'wrongBilling', rightPath });
    expect(destination).toMatchObject({ message: expect.stringContaining(rightPath) as string });
  });

  test('include the free ones, as their host is another', () => {
    expect(destinationOf('GET', '/api/paas/v4/models', 'CodingPlan')).toMatchObject({
      kind: 'wrongBilling',
      rightPath: '/api/coding/paas/v4/models',
    });
  });
});

describe('everything else is unknown', () => {
  test.each([
    ['GET', '/'],
    ['GET', '/api/coding/paas/v4/chat/completions'],
    ['DELETE', '/api/coding/paas/v4/models'],
    ['POST', '/api/monitor/usage/quota/limit'],
    ['POST', '/api/biz/customer-package-reset/use'],
    ['POST', '/api/coding/paas/v4/embeddings'],
    ['POST', '/api/coding/paas/v4/chat/completions/'],
    ['POST', '/api/coding/paas/v4//chat/completions'],
    ['POST', '/api/coding/paas/v4/../../paas/v4/chat/completions'],
    ['POST', '/api/coding/paas/v4/%63hat/completions'],
    ['POST', '/API/coding/paas/v4/chat/completions'],
    ['POST', 'http://evil.example/api/coding/paas/v4/chat/completions'],
    ['POST', '/api/coding/paas/v4/chat/completions#x'],
    ['GET', '/api/coding/paas/v4/models/..'],
    ['GET', '/api/coding/paas/v4/models/a/b'],
    ['GET', '/api/monitor/../coding/paas/v4/models'],
    ['GET', '/api/monitor/%2e%2e/x'],
    ['GET', '/api/monitor/'],
    ['GET', '/api/monitor/usage;x'],
    ['GET', ''],
  ])('%s %s', (method, path) => {
    expect(destinationOf(method, path, 'CodingPlan').kind).toBe('unknown');
  });

  test('the classic doubled version is explained', () => {
    const destination = destinationOf('POST', '/api/anthropic/v1/v1/messages', 'CodingPlan');
    expect(destination).toMatchObject({
      kind: 'unknown',
      surface: 'Anthropic',
      message: expect.stringContaining('the version is there twice') as string,
    });
  });

  test('a very long path is not echoed whole', () => {
    const destination = destinationOf('GET', `/${'x'.repeat(10_000)}`, 'CodingPlan');
    expect(destination.kind === 'unknown' && destination.message.length).toBeLessThan(300);
  });
});
