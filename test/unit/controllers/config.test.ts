import { expect, test } from 'vitest';
import { parseConfig } from '#operator/config.ts';

const common = {
  GLMQUOTA_NAMESPACE: 'glmquota',
  GLMQUOTA_POD_NAME: 'controller-0',
  GLMQUOTA_REDIS_URL: 'rediss://redis.glmquota.svc:6379',
  GLMQUOTA_REDIS_SECRET: 'glmquota-redis',
};

function problemOf(call: () => unknown): string {
  try {
    call();
    return '';
  } catch (error) {
    return String(error);
  }
}

test('every problem is told at once', () => {
  const wrong = {
    GLMQUOTA_REDIS_URL: 'redis://elsewhere:6379',
    GLMQUOTA_VERIFY_PEER: 'yes',
    GLMQUOTA_LOG_LEVEL: 'loud',
  };
  const names = ['NAMESPACE', 'POD_NAME', 'REDIS_URL', 'REDIS_SECRET', 'SIDECAR_IMAGE', 'VERIFY_PEER', 'LOG_LEVEL'];
  const message = problemOf(() => parseConfig('edge', wrong));
  expect(names.filter((name) => !message.includes(`GLMQUOTA_${name}`))).toEqual([]);
});

test('a controller needs no sidecar image', () => {
  const config = parseConfig('controller', {
    ...common,
    GLMQUOTA_ALLOWED_ORIGINS: 'https://a.example, https://b.example',
  });
  expect(config).toMatchObject({ role: 'controller', name: 'glmquota', managesRedisSecret: false });
  expect(config.allowedOrigins).toEqual(['https://a.example', 'https://b.example']);
});

test('sidecar resources are read from JSON', () => {
  const resources = '{"requests":{"cpu":"20m"},"limits":{"memory":"256Mi"}}';
  const edge = { ...common, GLMQUOTA_SIDECAR_IMAGE: 'glmquota@sha256:0', GLMQUOTA_SIDECAR_RESOURCES: resources };
  expect(parseConfig('edge', edge)).toMatchObject({ sidecar: { resources: JSON.parse(resources) as object } });
  expect(() => parseConfig('edge', { ...edge, GLMQUOTA_SIDECAR_RESOURCES: '{"limits":{"memory":256}}' })).toThrow(
    'GLMQUOTA_SIDECAR_RESOURCES',
  );
});

test('a Redis in the clear is accepted on loopback only, and never with credentials in its address', () => {
  const loopback = { ...common, GLMQUOTA_REDIS_URL: 'redis://127.0.0.1:6379' };
  expect(parseConfig('controller', loopback).redisUrl).toBe('redis://127.0.0.1:6379');
  const spoken = { ...common, GLMQUOTA_REDIS_URL: 'rediss://user:secret@redis:6379' };
  expect(() => parseConfig('controller', spoken)).toThrow('must not hold credentials');
});
