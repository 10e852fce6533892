/** The waiting room with thousands in it: nothing may grow with the crowd beyond what one call of Lua can bear. */
import { expect, test } from 'vitest';
import { node, request } from '#test/support/engine.ts';
import { useEngine } from './fixture.ts';

const rules = useEngine();
const WAIT = { mode: 'UntilWindow', maxWaitMs: 600_000 } as const;
const CROWD = 5000;

/** As many calls as that wait at one model, each of another user: each has a sub-queue of its own. */
async function crowd(count = CROWD): Promise<readonly string[]> {
  const ids = Array.from({ length: count }, (_, index) => `w${index}`);
  for (let first = 0; first < count; first += 500) {
    const some = ids.slice(first, first + 500);
    await Promise.all(
      some.map((id) => rules.engine.sidecar.acquire(request(id, { wait: WAIT, attributes: { user: id } }))),
    );
  }
  return ids;
}

const nodes = (concurrency: number) => [node('account', null), node('model:other', 'account', { concurrency })];

test('Q6 a configuration that moves calls is applied while 5,000 wait', async () => {
  await rules.engine.configure(nodes(1));
  const grant = await rules.grant('1');
  await crowd();
  await rules.engine.configure([...nodes(1), node('quota:new', 'account')]);
  await rules.settle(grant);
  expect(await rules.drifts()).toEqual([]);
}, 60_000);
