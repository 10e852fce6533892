import { expect, test } from 'vitest';
import { describeVariables, parseConfig } from '#sidecar/config.ts';

const OPERATOR = { GLMQUOTA_CONTROL_ADDRESS: 'edge.glm.svc:8443', GLMQUOTA_TOKEN_FILE: '/var/run/token' };

test('with the operator named, everything else has a default', () => {
  expect(parseConfig(OPERATOR)).toEqual({
    source: { kind: 'operator', address: 'edge.glm.svc:8443', tokenFile: '/var/run/token', caPem: null },
    httpPort: 15_787,
    grpcPort: 15_788,
    socket: null,
    adminHost: '0.0.0.0',
    adminPort: 15_464,
    podUid: 'local',
    bodyLimitBytes: 33_554_432,
    upstreamIdleMs: 600_000,
    logLevel: 'info',
  });
});

test('local mode takes its configuration from a file', () => {
  expect(parseConfig({ GLMQUOTA_SNAPSHOT_FILE: '/x.json' }).source).toEqual({ kind: 'file', path: '/x.json' });
});

test('all problems are reported at once', () => {
  const environment = { GLMQUOTA_HTTP_PORT: '70000', GLMQUOTA_BODY_LIMIT_BYTES: '-1', GLMQUOTA_LOG_LEVEL: 'loud' };
  expect(() => parseConfig(environment)).toThrow(
    /HTTP_PORT[^]*BODY_LIMIT_BYTES|LOG_LEVEL[^]*CONTROL_ADDRESS[^]*HTTP_PORT[^]*BODY_LIMIT_BYTES/,
  );
});

test.for([
  [{}, 'GLMQUOTA_CONTROL_ADDRESS'],
  [{ GLMQUOTA_CONTROL_ADDRESS: 'edge:1' }, 'GLMQUOTA_TOKEN_FILE is required'],
  [{ ...OPERATOR, GLMQUOTA_CONTROL_ADDRESS: 'edge' }, 'must be host:port'],
  [{ ...OPERATOR, GLMQUOTA_SNAPSHOT_FILE: '/x' }, 'exclude each other'],
  [{ ...OPERATOR, GLMQUOTA_UPSTREAM_IDLE_MS: '0' }, 'must not be 0'],
] as const)('%o is refused: %s', ([environment, message]) => {
  expect(() => parseConfig(environment)).toThrow(message);
});

test('the configuration cannot be changed', () => {
  expect(Object.isFrozen(parseConfig(OPERATOR))).toBe(true);
});

test('every variable is described', () => {
  expect(describeVariables()).toContain('GLMQUOTA_BODY_LIMIT_BYTES');
});
