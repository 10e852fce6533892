import { X509Certificate } from 'node:crypto';
import { expect, test } from 'vitest';
import { createAuthority, notAfterMs, signServerCertificate } from '#operator/certificates/x509.ts';

const nowMs = Date.UTC(2026, 10, 21);
const authority = await createAuthority('glmquota test', { nowMs, days: 365 });
const leaf = await signServerCertificate(
  authority,
  { commonName: 'edge', dnsNames: ['edge.glmquota.svc'], ipAddresses: ['127.0.0.1'] },
  { nowMs, days: 7 },
);

test('a leaf is signed by its authority and by no other', async () => {
  const other = await createAuthority('glmquota test', { nowMs, days: 365 });
  const certificate = new X509Certificate(leaf.certPem);
  expect(certificate.verify(new X509Certificate(authority.certPem).publicKey)).toBe(true);
  expect(certificate.verify(new X509Certificate(other.certPem).publicKey)).toBe(false);
});

test('a leaf is valid for exactly the names it was asked for', () => {
  const certificate = new X509Certificate(leaf.certPem);
  expect(certificate.checkHost('edge.glmquota.svc')).toBe('edge.glmquota.svc');
  expect(certificate.checkHost('other.glmquota.svc')).toBeUndefined();
  expect(certificate.checkIP('127.0.0.1')).toBe('127.0.0.1');
});

test('a certificate ends when its validity says', () => {
  expect(notAfterMs(leaf.certPem)).toBe(nowMs + 7 * 24 * 3600 * 1000);
});

test('only the authority may sign certificates', () => {
  expect(new X509Certificate(authority.certPem).ca).toBe(true);
  expect(new X509Certificate(leaf.certPem).ca).toBe(false);
});
