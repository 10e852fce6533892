/** Throw-away certificate authorities and leaves for TLS over loopback. */
import 'reflect-metadata';
import * as x509 from '@peculiar/x509';

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
const HOUR_MS = 3_600_000;

export interface TestAuthority {
  readonly caPem: string;
  /** A leaf for these DNS names and for 127.0.0.1; `serial` is hexadecimal. */
  issue(names: readonly string[], serial?: string): Promise<{ certPem: string; keyPem: string }>;
}

export async function createAuthority(name: string): Promise<TestAuthority> {
  const keys = await crypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
  const validity = { notBefore: new Date(Date.now() - HOUR_MS), notAfter: new Date(Date.now() + HOUR_MS) };
  const ca = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: '01',
    name: `CN=${name}`,
    ...validity,
    signingAlgorithm: ALGORITHM,
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign, true),
    ],
  });
  return {
    caPem: ca.toString('pem'),
    issue: async (names, serial = '02') => {
      const leaf = await crypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
      const certificate = await x509.X509CertificateGenerator.create({
        serialNumber: serial,
        subject: `CN=${names[0] ?? 'localhost'}`,
        issuer: ca.subject,
        ...validity,
        signingAlgorithm: ALGORITHM,
        publicKey: leaf.publicKey,
        signingKey: keys.privateKey,
        extensions: [
          new x509.SubjectAlternativeNameExtension([
            ...names.map((value) => ({ type: 'dns' as const, value })),
            { type: 'ip', value: '127.0.0.1' },
          ]),
        ],
      });
      const key = Buffer.from(await crypto.subtle.exportKey('pkcs8', leaf.privateKey)).toString('base64');
      return {
        certPem: certificate.toString('pem'),
        keyPem: `-----BEGIN PRIVATE KEY-----\n${key}\n-----END PRIVATE KEY-----\n`,
      };
    },
  };
}
