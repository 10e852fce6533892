/** Connections to the vendor, kept alive between calls. */
import { createSecureContext, getCACertificates, type SecureContext } from 'node:tls';
import { Pool } from 'undici';
import type { SidecarSnapshot } from '../control/terms.ts';

type Target = SidecarSnapshot['upstream'];

/**
 * A lease is checked before the connection is made, and may then be two beats old (rule T2): with this on top the first
 * byte still goes out within its lifetime.
 */
const CONNECT_TIMEOUT_MS = 4000;
const MAX_RESPONSE_HEADER_BYTES = 65_536;
/** Where the vendor says nothing itself: below what servers and their load balancers usually keep, or a call meets a closed one. */
const KEEP_ALIVE_MS = 30_000;

interface Upstream {
  readonly pool: Pool;
  /** For the `Host` header. */
  readonly host: string;
}

export interface Upstreams extends AsyncDisposable {
  /** The connections to a snapshot's vendor; a new set when origin or trusted certificates change. */
  of(target: Target): Upstream;
}

/** `idleTimeoutMs`: how long the vendor may be silent, before its answer and within it. */
export function createUpstreams(idleTimeoutMs: number): Upstreams {
  let current: (Upstream & Pick<Target, 'origin' | 'caPem'>) | null = null;
  const closing = new Set<Promise<void>>();
  const retire = (pool: Pool): void => {
    const closed = pool.close().finally(() => closing.delete(closed));
    closing.add(closed);
  };
  return {
    of({ origin, caPem }) {
      if (current?.origin === origin && current.caPem === caPem) return current;
      if (current !== null) retire(current.pool);
      const pool = new Pool(origin, {
        connect: { timeout: CONNECT_TIMEOUT_MS, ...(caPem === null ? {} : { secureContext: trusting(caPem) }) },
        keepAliveTimeout: KEEP_ALIVE_MS,
        headersTimeout: idleTimeoutMs,
        bodyTimeout: idleTimeoutMs,
        maxHeaderSize: MAX_RESPONSE_HEADER_BYTES,
        pipelining: 1,
        allowH2: false,
      });
      current = { origin, caPem, pool, host: new URL(origin).host };
      return current;
    },
    async [Symbol.asyncDispose]() {
      await current?.pool.destroy();
      current = null;
    },
  };
}

/** The system's certificates and these; made once, because reading them takes longer than a handshake. */
function trusting(caPem: string): SecureContext {
  return createSecureContext({ ca: [...getCACertificates('default'), caPem] });
}
