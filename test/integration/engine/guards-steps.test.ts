/** Guards of the smaller steps of the rules, each found missing a test by `test/proof/mutation`. */
import { expect, test } from 'vitest';
import { node } from '#test/support/engine.ts';
import { useEngine } from './fixture.ts';

const rules = useEngine();

test('N5 a 1308 that names no time closes the account for a minute', async () => {
  await rules.engine.configure([node('account', null), node('model:other', 'account')]);
  await rules.settle(await rules.grant('1'), { outcome: 'refusedQuota', frozenUntilMs: null });
  expect(await rules.acquire('2')).toMatchObject({ reason: 'Frozen', retryAtMs: rules.engine.nowMs + 62_000 });
});
