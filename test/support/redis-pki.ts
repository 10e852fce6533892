/** A throw-away CA and a server certificate. */
import 'reflect-metadata';
import * as x509 from '@peculiar/x509';

export interface TestPki {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;

/** The certificate names localhost and, unless `hostsOnly`, 127.0.0.1. */
export async function makeTestPki({ hostsOnly = false } = {}): Promise<TestPki> {
  x509.cryptoProvider.set(globalThis.crypto);
  const caKeys = await crypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
  const keys = await crypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
  const validity = { notBefore: new Date(Date.now() - 3_600_000), notAfter: new Date(Date.now() + 86_400_000) };
  const ca = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: '01',
    name: 'CN=glmquota test CA',
    ...validity,
    keys: caKeys,
    signingAlgorithm: ALGORITHM,
    extensions: [new x509.BasicConstraintsExtension(true, 0, true)],
  });
  const cert = await x509.X509CertificateGenerator.create({
    serialNumber: '02',
    subject: 'CN=redis',
    issuer: ca.subject,
    ...validity,
    publicKey: keys.publicKey,
    signingKey: caKeys.privateKey,
    signingAlgorithm: ALGORITHM,
    extensions: [
      new x509.SubjectAlternativeNameExtension([
        ...(hostsOnly ? [] : [{ type: 'ip' as const, value: '127.0.0.1' }]),
        { type: 'dns', value: 'localhost' },
      ]),
    ],
  });
  const der = await crypto.subtle.exportKey('pkcs8', keys.privateKey);
  return {
    ca: ca.toString('pem'),
    cert: cert.toString('pem'),
    key: x509.PemConverter.encode(der, x509.PemConverter.PrivateKeyTag),
  };
}
