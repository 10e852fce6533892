/** All the sidecar is told by its environment: read once, checked as a whole, frozen. */
import { AppError } from './base/errors.ts';
import type { LogLevel } from './base/log.ts';

/** Where snapshots come from. */
type SourceConfig =
  | {
      readonly kind: 'operator';
      /** `host:port` of the ControlService. */
      readonly address: string;
      readonly tokenFile: string;
      /** Null: the system's roots. */
      readonly caPem: string | null;
    }
  | { readonly kind: 'file'; readonly path: string };

export interface SidecarConfig {
  readonly source: SourceConfig;
  readonly httpPort: number;
  readonly grpcPort: number;
  /** Path of the Unix socket the LeaseService listens on as well; null: none. */
  readonly socket: string | null;
  readonly adminHost: string;
  readonly adminPort: number;
  readonly podUid: string;
  readonly bodyLimitBytes: number;
  /** How long the vendor may be silent. */
  readonly upstreamIdleMs: number;
  readonly logLevel: LogLevel;
}

/** Every variable, in the order `--help` shows them. */
const VARIABLES = {
  GLMQUOTA_CONTROL_ADDRESS: 'host:port of the operator; this or GLMQUOTA_SNAPSHOT_FILE is required',
  GLMQUOTA_TOKEN_FILE: "the pod's projected token (required with the operator)",
  GLMQUOTA_CA: "certificates (PEM) the operator is trusted by; default: the system's",
  GLMQUOTA_SNAPSHOT_FILE: 'local mode: configuration from a file instead of the operator',
  GLMQUOTA_HTTP_PORT: 'port of the proxy on 127.0.0.1; default 15787; 0: any',
  GLMQUOTA_GRPC_PORT: 'port of the LeaseService on 127.0.0.1; default 15788; 0: any',
  GLMQUOTA_SOCKET: 'Unix socket of the LeaseService; default: none',
  GLMQUOTA_ADMIN_HOST: 'address of /metrics and the probes; default 0.0.0.0',
  GLMQUOTA_ADMIN_PORT: 'port of /metrics and the probes; default 15464; 0: any',
  GLMQUOTA_POD_UID: 'names this process in Redis; default: local',
  GLMQUOTA_BODY_LIMIT_BYTES: 'largest request body; default 33554432 (32 MiB)',
  GLMQUOTA_UPSTREAM_IDLE_MS: 'how long the vendor may be silent; default 600000 (10 minutes)',
  GLMQUOTA_LOG_LEVEL: 'debug, info, warn, error or silent; default info',
} as const;
type Variable = keyof typeof VARIABLES;

export type Environment = Readonly<Record<string, string | undefined>>;

const LEVELS: readonly LogLevel[] = ['debug', 'info', 'warn', 'error', 'silent'];
const MAX_PORT = 65_535;
const MAX_BODY_BYTES = 1024 * 1024 * 1024;
const MAX_IDLE_MS = 24 * 3_600_000;

/** What `--help` prints about the environment, one variable a line. */
export function describeVariables(): string {
  return Object.entries(VARIABLES)
    .map(([name, text]) => `  ${name.padEnd(26)} ${text}`)
    .join('\n');
}

/** The configuration of this process; fails as `parseConfig` does. */
export function readConfig(): SidecarConfig {
  return parseConfig(process.env);
}

/** Fails with `invalid`, its message naming every problem at once. */
export function parseConfig(environment: Environment): SidecarConfig {
  const problems: string[] = [];
  const text = (name: Variable): string | null => environment[name]?.trim() || null;
  const integer = (name: Variable, fallback: number, max: number): number => {
    const given = text(name);
    if (given === null) return fallback;
    const value = Number(given);
    if (/^\d+$/.test(given) && value <= max) return value;
    problems.push(`${name} must be a whole number from 0 to ${max}, not "${given}"`);
    return fallback;
  };
  const level = text('GLMQUOTA_LOG_LEVEL') ?? 'info';
  const logLevel = LEVELS.find((each) => each === level);
  if (logLevel === undefined) problems.push(`GLMQUOTA_LOG_LEVEL must be one of ${LEVELS.join(', ')}, not "${level}"`);
  const config: SidecarConfig = {
    source: parseSource(text, problems),
    httpPort: integer('GLMQUOTA_HTTP_PORT', 15_787, MAX_PORT),
    grpcPort: integer('GLMQUOTA_GRPC_PORT', 15_788, MAX_PORT),
    socket: text('GLMQUOTA_SOCKET'),
    adminHost: text('GLMQUOTA_ADMIN_HOST') ?? '0.0.0.0',
    adminPort: integer('GLMQUOTA_ADMIN_PORT', 15_464, MAX_PORT),
    podUid: text('GLMQUOTA_POD_UID') ?? 'local',
    bodyLimitBytes: integer('GLMQUOTA_BODY_LIMIT_BYTES', 32 * 1024 * 1024, MAX_BODY_BYTES),
    upstreamIdleMs: integer('GLMQUOTA_UPSTREAM_IDLE_MS', 600_000, MAX_IDLE_MS),
    logLevel: logLevel ?? 'info',
  };
  if (config.upstreamIdleMs === 0) problems.push('GLMQUOTA_UPSTREAM_IDLE_MS must not be 0');
  if (problems.length > 0) throw new AppError('invalid', problems.join('\n'));
  return Object.freeze(config);
}

function parseSource(text: (name: Variable) => string | null, problems: string[]): SourceConfig {
  const path = text('GLMQUOTA_SNAPSHOT_FILE');
  const address = text('GLMQUOTA_CONTROL_ADDRESS');
  const tokenFile = text('GLMQUOTA_TOKEN_FILE');
  if (path !== null && address !== null) {
    problems.push('GLMQUOTA_CONTROL_ADDRESS and GLMQUOTA_SNAPSHOT_FILE exclude each other');
  }
  if (path !== null) return { kind: 'file', path };
  if (address === null) problems.push('GLMQUOTA_CONTROL_ADDRESS (or GLMQUOTA_SNAPSHOT_FILE) is required');
  else if (!/^.+:\d{1,5}$/.test(address)) problems.push(`GLMQUOTA_CONTROL_ADDRESS must be host:port, not "${address}"`);
  if (address !== null && tokenFile === null) problems.push('GLMQUOTA_TOKEN_FILE is required with the operator');
  return { kind: 'operator', address: address ?? '', tokenFile: tokenFile ?? '', caPem: text('GLMQUOTA_CA') };
}
