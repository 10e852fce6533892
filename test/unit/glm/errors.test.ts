import { describe, expect, test } from 'vitest';
import type { ErrorClass } from '#sidecar/catalog/terms.ts';
import { failureOf, reportedError } from '#sidecar/glm/errors.ts';
import { isJsonObject } from '#sidecar/glm/terms.ts';
import { defaultCatalog } from '#test/support/default-catalog.ts';

const errors = defaultCatalog().errors;
const NOW = Date.parse('2026-09-09T00:00:00Z');

function failure(status: number, body: unknown) {
  return failureOf(errors, { status, error: isJsonObject(body) ? reportedError(body) : null, nowMs: NOW });
}

const openAi = (code: string, message = 'no') => ({ error: { code, message } });
const anthropic = (type: string, message: string, code?: string) => ({
  type: 'error',
  error: { type, message, ...(code === undefined ? {} : { code }) },
  request_id: 'r',
});

/** Every row of the vendor's table, with the status it comes with. */
const ROWS: readonly (readonly [ErrorClass, number, readonly string[]])[] = [
  ['Retry', 500, ['500', '1200', '1230', '1234']],
  ['AccountStop', 401, ['1000', '1001', '1002', '1003', '1004', '1005']],
  ['AccountStop', 400, ['1110', '1111', '1112', '1121']],
  ['Retry', 400, ['1120']],
  ['AccountStop', 429, ['1113', '1309', '1313', '1314', '1315']],
  [
    'ClientError',
    400,
    ['1210', '1211', '1212', '1213', '1214', '1215', '1221', '1222', '1231', '1261', '1300', '1301'],
  ],
  ['ClientError', 403, ['1220']],
  ['Concurrency', 429, ['1302']],
  ['Rate', 429, ['1303']],
  ['Overload', 429, ['1305', '1312']],
  ['Overload', 529, ['1305']],
  ['Quota', 429, ['1304', '1308', '1310', '1316', '1317', '1318', '1319', '1320', '1321']],
  ['ClientError', 429, ['1311']],
  ['Retry', 500, ['2007', '3002']],
];
const cases = ROWS.flatMap(([kind, status, codes]) => codes.map((code) => [code, status, kind] as const));

describe('the vendor’s table', () => {
  test.each(cases)('code %s with status %i is %s', (code, status, kind) => {
    expect(failure(status, openAi(code))).toMatchObject({ code, class: kind });
  });

  test.each(cases)('code %s with status %i inside an Anthropic message is %s', (code, status, kind) => {
    const body = anthropic('rate_limit_error', `[${code}][some text][20260909000000abc]`);
    expect(failure(status, body)).toMatchObject({ code, class: kind });
  });

  test('every row of the catalog is a case here', () => {
    expect(errors.map(({ code }) => code).toSorted()).toEqual([...new Set(cases.map(([code]) => code))].toSorted());
  });
});

describe('shapes of errors', () => {
  test.each([
    [
      'the OpenAI surface',
      openAi('1302', 'Rate limit reached for requests'),
      '1302',
      'Rate limit reached for requests',
    ],
    ['a number as code', { error: { code: 1302, message: 'x' } }, '1302', 'x'],
    [
      'the Anthropic surface',
      anthropic('rate_limit_error', '[1308][used up][r]', '1308'),
      '1308',
      '[1308][used up][r]',
    ],
    [
      'a failed response',
      { type: 'response.failed', response: { error: { code: '1302', message: 'x' } } },
      '1302',
      'x',
    ],
    ['an error event of its own', { type: 'error', code: '1302', message: 'x' }, '1302', 'x'],
    [
      'a success that is none',
      { code: 401, msg: 'token expired or incorrect', success: false },
      '401',
      'token expired or incorrect',
    ],
    ['a framework', { timestamp: 't', status: 404, error: 'Not Found', path: '/v4' }, null, 'Not Found'],
  ])('of %s', (_, body, code, message) => {
    expect(reportedError(body)).toMatchObject({ code, message });
  });

  test.each([{}, { error: null }, { choices: [] }, { type: 'message', content: [] }, { success: true, code: 200 }])(
    'none in %j',
    (body) => {
      expect(reportedError(body)).toBeNull();
    },
  );

  test('a long message is cut', () => {
    expect(reportedError(openAi('1', 'x'.repeat(9000)))?.message).toHaveLength(500);
  });
});

describe('codes without a row', () => {
  const stamp = 'limit will reset at 2026-09-09 13:00:00';
  test.each([
    ['an unknown 13xx with a time is a window', 429, openAi('1399', stamp), 'Quota'],
    ['an unknown 13xx without one is a rate', 429, openAi('1399', 'slow down'), 'Rate'],
    ['429 without a body is a rate', 429, null, 'Rate'],
    [
      '429 that states a time is a window, in any language',
      429,
      openAi('x', '已达到上限，2026-09-09 13:00:00 后可继续使用'),
      'Quota',
    ],
    ['529 is overload', 529, null, 'Overload'],
    ['503 asks for another try', 503, '<html>', 'Retry'],
    ['408 asks for another try', 408, null, 'Retry'],
    ['401 stops the account', 401, null, 'AccountStop'],
    ['400 is the client’s', 400, openAi('9999'), 'ClientError'],
    ['404 is the client’s', 404, null, 'ClientError'],
    ['an overloaded error inside a success', 200, anthropic('overloaded_error', 'busy'), 'Overload'],
    ['a network failure inside a success', 200, anthropic('api_error', 'Internal Network Failure'), 'Retry'],
    ['a rate limit inside a success', 200, anthropic('rate_limit_error', 'slow down'), 'Rate'],
    ['a known code inside a success', 200, openAi('1302'), 'Concurrency'],
    ['an invalid request on the Anthropic surface', 400, anthropic('invalid_request_error', 'bad'), 'ClientError'],
  ] as const)('%s', (_, status, body, kind) => {
    expect(failure(status, body)?.class).toBe(kind);
  });
});

test('a success without an error is no failure', () => {
  expect(failure(200, { choices: [] })).toBeNull();
});

test('the reset time goes with windows only', () => {
  const message = 'Your limit will reset at 2026-09-09 13:00:00';
  expect(failure(429, openAi('1308', message))?.resetAtMs).toBe(Date.parse('2026-09-09T05:00:03Z'));
  expect(failure(429, openAi('1313', message))?.resetAtMs).toBeNull();
});
