import { describe, expect, test } from 'vitest';
import { readCredential, readCredentialFacts } from '#operator/trees/credentials.ts';
import { decideOrigin } from '#operator/trees/origins.ts';

const TYPE = 'glmquota.io/credential';
const base64 = (text: string): string => Buffer.from(text).toString('base64');

describe('a credential Secret', () => {
  test('is read from data (base64) and from stringData, surrounding white space cut', () => {
    const expected = { ok: true, credential: { apiKey: 'id.secret-1', origin: 'https://x.example', caPem: null } };
    expect(
      readCredential({ type: TYPE, data: { apiKey: base64('id.secret-1\n'), origin: base64('https://x.example/') } }),
    ).toEqual(expected);
    expect(readCredential({ type: TYPE, stringData: { apiKey: 'id.secret-1', origin: 'https://x.example' } })).toEqual(
      expected,
    );
  });

  test.each([
    ['another type', { type: 'Opaque', data: { apiKey: base64('id.secret-1') } }, /type Opaque; make it anew/],
    ['no type', { data: { apiKey: base64('id.secret-1') } }, /type Opaque/],
    ['no key', { type: TYPE, data: { key: base64('id.secret-1') } }, /no data.apiKey/],
    ['an empty key', { type: TYPE, data: { apiKey: base64(' ') } }, /no data.apiKey/],
    ['a key with a line break', { type: TYPE, stringData: { apiKey: 'first\nsecond' } }, /is no key/],
    ['a certificate that is none', { type: TYPE, stringData: { apiKey: 'id.secret-1', 'ca.crt': 'x' } }, /PEM/],
    ['no object at all', null, /type Opaque/],
  ])('with %s is refused, and the message holds no value', (_, secret, message) => {
    const read = readCredential(secret);
    expect(read).toMatchObject({ ok: false, message: expect.stringMatching(message) as string });
    expect(JSON.stringify(read)).not.toMatch(/id\.secret|first/);
  });

  test('is kept as a hash only, equal for equal keys', () => {
    const facts = (apiKey: string) => readCredentialFacts({ type: TYPE, stringData: { apiKey } });
    expect(facts('id.secret-1')).toEqual(facts('id.secret-1'));
    expect(facts('id.secret-1')).not.toEqual(facts('id.secret-2'));
    expect(JSON.stringify(facts('id.secret-1'))).not.toContain('id.secret');
  });
});

describe('the origin', () => {
  const allowed = ['https://proxy.example', 'https://*.corp.example:8443', 'http://127.0.0.1:9000'];

  test.each([
    ['International', null, 'https://api.z.ai'],
    ['China', null, 'https://open.bigmodel.cn'],
    ['International', 'https://api.z.ai', 'https://api.z.ai'],
    ['Custom', 'https://proxy.example', 'https://proxy.example'],
    ['Custom', 'https://proxy.example:443', 'https://proxy.example'],
    ['Custom', 'https://a.b.corp.example:8443', 'https://a.b.corp.example:8443'],
    ['Custom', 'http://127.0.0.1:9000', 'http://127.0.0.1:9000'],
  ] as const)('of region %s with %s is %s', (region, stated, origin) => {
    expect(decideOrigin(region, stated, allowed)).toEqual({ ok: true, origin });
  });

  test.each([
    ['International', 'https://proxy.example', 'CredentialInvalid'],
    ['Custom', null, 'CredentialInvalid'],
    ['Custom', 'https://evil.example', 'OriginNotAllowed'],
    ['Custom', 'https://proxy.example.evil.example', 'OriginNotAllowed'],
    ['Custom', 'https://corp.example:8443', 'OriginNotAllowed'],
    ['Custom', 'https://evilcorp.example:8443', 'OriginNotAllowed'],
    ['Custom', 'https://a.corp.example', 'OriginNotAllowed'],
    ['Custom', 'http://proxy.example', 'OriginNotAllowed'],
    ['Custom', 'http://127.0.0.1:9001', 'OriginNotAllowed'],
    ['Custom', 'https://user@proxy.example', 'OriginNotAllowed'],
    ['Custom', 'https://proxy.example/path', 'OriginNotAllowed'],
    ['Custom', 'proxy.example', 'OriginNotAllowed'],
    ['Custom', 'file:///etc/passwd', 'OriginNotAllowed'],
  ] as const)('of region %s with %s is refused: %s', (region, stated, reason) => {
    expect(decideOrigin(region, stated, allowed)).toMatchObject({ ok: false, reason });
  });

  test('plain http stays on loopback even where everything is allowed', () => {
    expect(decideOrigin('Custom', 'http://proxy.example', ['*'])).toMatchObject({ ok: false });
    expect(decideOrigin('Custom', 'http://[::1]:9000', ['*'])).toMatchObject({ ok: true });
  });
});
