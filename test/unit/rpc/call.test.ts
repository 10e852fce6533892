import { Metadata } from '@grpc/grpc-js';
import { expect, test } from 'vitest';
import { addressOf, bearerOf } from '#sidecar/rpc/call.ts';

test.each([
  ['10.0.0.7:4711', '10.0.0.7'],
  ['::ffff:10.0.0.7:4711', '10.0.0.7'],
  ['fd00::7:4711', 'fd00::7'],
  ['[fd00::7]:4711', 'fd00::7'],
  ['unknown', null],
])('the address of peer %s is %s', (peer, address) => {
  expect(addressOf(peer)).toBe(address);
});

test.each([
  [['Bearer a.b.c'], 'a.b.c'],
  [['bearer a'], 'a'],
  [['Basic a'], null],
  [['Bearer '], null],
  [['Bearer a b'], null],
  [['Bearer a', 'Bearer b'], null],
  [[], null],
])('authorization %j gives the token %s', (entries, token) => {
  const metadata = new Metadata();
  for (const entry of entries) metadata.add('authorization', entry);
  expect(bearerOf(metadata)).toBe(token);
});
