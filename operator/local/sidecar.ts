/** The sidecar as a child process, configured by a file. */
import { fileURLToPath } from 'node:url';
import type { Clock } from '../../sidecar/base/clock.ts';
import { awaitStart } from './await-start.ts';
import type { LocalConfig } from './config.ts';
import { freePort } from './ports.ts';
import { startTied } from './tied-process.ts';

/** It settles what runs within a second; streams of agents that still run are cut after this. */
const GRACE_MS = 5000;
const PROGRAM = fileURLToPath(new URL('../../sidecar/main.ts', import.meta.url));

export interface LocalSidecar extends AsyncDisposable {
  /** `http://127.0.0.1:port` of the proxy. */
  readonly origin: string;
  /** `127.0.0.1:port` of the LeaseService. */
  readonly grpcAddress: string;
  /** `http://127.0.0.1:port` of /metrics and the probes. */
  readonly adminOrigin: string;
  readonly ended: Promise<string>;
}

/** Starts it and waits until it is ready; fails with `unavailable` when it ends first. */
export async function startSidecar(
  snapshotFile: string,
  config: LocalConfig,
  clock: Clock,
  signal: AbortSignal,
): Promise<LocalSidecar> {
  const [http, grpc, admin] = [await freePort(config.httpPort), await freePort(config.grpcPort), await freePort()];
  const program = startTied([process.execPath, PROGRAM], {
    GLMQUOTA_LOG_LEVEL: 'warn',
    ...config.variables,
    GLMQUOTA_SNAPSHOT_FILE: snapshotFile,
    GLMQUOTA_HTTP_PORT: String(http),
    GLMQUOTA_GRPC_PORT: String(grpc),
    GLMQUOTA_ADMIN_HOST: '127.0.0.1',
    GLMQUOTA_ADMIN_PORT: String(admin),
  });
  const adminOrigin = `http://127.0.0.1:${admin}`;
  const dispose = (): Promise<void> => program.stop(clock, GRACE_MS);
  try {
    await awaitStart({ what: 'the sidecar', program, isReady: () => isReady(adminOrigin, signal) }, clock, signal);
  } catch (cause) {
    await dispose();
    throw cause;
  }
  return {
    origin: `http://127.0.0.1:${http}`,
    grpcAddress: `127.0.0.1:${grpc}`,
    adminOrigin,
    ended: program.ended,
    [Symbol.asyncDispose]: dispose,
  };
}

async function isReady(adminOrigin: string, signal: AbortSignal): Promise<boolean> {
  try {
    return (await fetch(`${adminOrigin}/readyz`, { signal })).ok;
  } catch {
    return false;
  }
}
