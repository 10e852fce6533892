/** The installed product on one real cluster: every scene of this folder, in this order, the removal last. */
import { afterAll, beforeAll, describe } from 'vitest';
import { type Platform, startPlatform } from '#test/support/platform.ts';
import { attacks } from './attacks.ts';
import { edge } from './edge.ts';
import { injection } from './injection.ts';
import { leader } from './leader.ts';
import { liveChanges } from './live-changes.ts';
import { pools } from './pools.ts';
import { specs } from './specs.ts';
import { store } from './store.ts';
import { uninstall } from './uninstall.ts';
import { wire } from './wire.ts';

let platform: Platform | undefined;

beforeAll(async () => {
  platform = await startPlatform((line) => console.log(line));
});

afterAll(async () => {
  await platform?.[Symbol.asyncDispose]();
});

function installed(): Platform {
  if (!platform) throw new Error('the platform did not start');
  return platform;
}

describe('injection', () => {
  injection(installed);
});
describe('specs', () => {
  specs(installed);
});
describe('live changes', () => {
  liveChanges(installed);
});
describe('pools', () => {
  pools(installed);
});
describe('attacks from an agent', () => {
  attacks(installed);
});
describe('the wire', () => {
  wire(installed);
});
describe('edge away', () => {
  edge(installed);
});
describe('Redis away', () => {
  store(installed);
});
describe('the leader away', () => {
  leader(installed);
});
describe('helm uninstall', () => {
  uninstall(installed);
});
