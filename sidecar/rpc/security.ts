/** How the server's and the client's end of a connection are secured. */
import { ChannelCredentials, experimental, ServerCredentials } from '@grpc/grpc-js';
import { AppError } from '../base/errors.ts';

/** PEM texts; the certificate first, then what leads to the root. */
export interface Certificate {
  readonly certPem: string;
  readonly keyPem: string;
}

/** A server's certificate, which may be replaced while it serves. */
export interface CertificateSource {
  readonly current: Certificate;
  /** Calls `listener` after every replacement until the returned handle is disposed. */
  watch(listener: () => void): Disposable;
}

/** Plain text is for loopback and Unix sockets only. */
export type ServerSecurity =
  | { readonly kind: 'plain' }
  | { readonly kind: 'tls'; readonly certificates: CertificateSource };

export type ChannelSecurity =
  | { readonly kind: 'plain' }
  /** `caPem` null: the system's roots. `serverName`: the name in the certificate, when it is not the address'. */
  | { readonly kind: 'tls'; readonly caPem: string | null; readonly serverName?: string };

/** Credentials of one listener. New connections get the newest certificate; open ones keep theirs. */
export function serverCredentials(security: ServerSecurity): ServerCredentials {
  if (security.kind === 'plain') return ServerCredentials.createInsecure();
  return experimental.createCertificateProviderServerCredentials(providerOf(security.certificates), null, false);
}

function providerOf(source: CertificateSource): experimental.CertificateProvider {
  const watches = new Map<experimental.IdentityCertificateUpdateListener, Disposable>();
  return {
    addIdentityCertificateListener(listener) {
      const tell = (): void => {
        const { certPem, keyPem } = source.current;
        listener({ certificate: Buffer.from(certPem), privateKey: Buffer.from(keyPem) });
      };
      watches.set(listener, source.watch(tell));
      // grpc-js puts its own listener in place only after this call has returned.
      queueMicrotask(tell);
    },
    removeIdentityCertificateListener(listener) {
      watches.get(listener)?.[Symbol.dispose]();
      watches.delete(listener);
    },
    addCaCertificateListener() {},
    removeCaCertificateListener() {},
  };
}

/** Credentials of one channel. */
export function channelCredentials(security: ChannelSecurity): ChannelCredentials {
  if (security.kind === 'plain') return ChannelCredentials.createInsecure();
  return ChannelCredentials.createSsl(security.caPem === null ? null : Buffer.from(security.caPem));
}

/** Fails with `invalid` unless the address is a Unix socket or on loopback. */
export function assertLocal(address: string): void {
  if (/^(unix:|127\.\d+\.\d+\.\d+:|\[::1\]:|localhost:)/.test(address)) return;
  throw new AppError('invalid', `${address} is not on this machine: it must be served and called with TLS`);
}
