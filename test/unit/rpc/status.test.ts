import { status as GrpcStatus } from '@grpc/grpc-js';
import { expect, test } from 'vitest';
import { CODES } from '#sidecar/base/errors.ts';
import { codeOf, decodeError, statusOf } from '#sidecar/rpc/status.ts';

test('every code has a status of its own and comes back from it', () => {
  expect(CODES.map((code) => codeOf(statusOf(code)))).toEqual(CODES);
});

test('no code is sent as OK', () => {
  expect(CODES.map(statusOf)).not.toContain(GrpcStatus.OK);
});

test('every status of the standard has a code', () => {
  const statuses = Object.values(GrpcStatus).filter((value) => typeof value === 'number');
  expect(statuses).toHaveLength(17);
  for (const status of statuses) expect(CODES).toContain(codeOf(status));
});

test('a status outside the standard is internal', () => {
  expect(decodeError({ code: 99 as GrpcStatus, details: 'odd' })).toMatchObject({ code: 'internal', message: 'odd' });
});
