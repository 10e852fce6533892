/** All the operator is told by its environment: read once, checked as a whole, frozen. */
import { AppError } from '../sidecar/base/errors.ts';
import type { LogLevel } from '../sidecar/base/log.ts';
import { parseRedisUrl } from '../sidecar/engine/redis-url.ts';

/** What both roles need. */
interface CommonConfig {
  readonly logLevel: LogLevel;
  /** Prefix of the names of our own objects. */
  readonly name: string;
  /** The operator's own namespace. */
  readonly namespace: string;
  readonly podName: string;
  readonly redisUrl: string;
  /** In the own namespace; `redisCredentials` says what it holds. */
  readonly redisSecret: string;
  readonly allowedOrigins: readonly string[];
}

export interface ControllerConfig extends CommonConfig {
  readonly role: 'controller';
  /** Whether the Secret of Redis is made when it is not there. */
  readonly managesRedisSecret: boolean;
}

export interface EdgeConfig extends CommonConfig {
  readonly role: 'edge';
  readonly sidecar: {
    readonly image: string;
    readonly imagePullPolicy: 'Always' | 'IfNotPresent' | 'Never';
    readonly logLevel: string;
    readonly resources: {
      readonly requests: Readonly<Record<string, string>>;
      readonly limits: Readonly<Record<string, string>>;
    };
  };
  /** Refuse streams whose peer address is not their pod's. */
  readonly verifyPeerAddress: boolean;
}

export const ROLES = ['controller', 'edge'] as const;
export type Role = (typeof ROLES)[number];

/** Every variable, in the order `--help` shows them. */
const VARIABLES = {
  GLMQUOTA_NAMESPACE: "the operator's own namespace (required)",
  GLMQUOTA_POD_NAME: 'name of this pod (required)',
  GLMQUOTA_NAME: "prefix of the names of the operator's objects; default glmquota",
  GLMQUOTA_REDIS_URL: 'rediss://host:port, rediss+sentinel://… or rediss+cluster://… (required)',
  GLMQUOTA_REDIS_SECRET: 'Secret with the credentials of Redis (required)',
  GLMQUOTA_MANAGE_REDIS_SECRET: 'controller: true makes that Secret when it is missing; default false',
  GLMQUOTA_ALLOWED_ORIGINS: 'origins that credentials may name besides the vendor, with commas; default none',
  GLMQUOTA_SIDECAR_IMAGE: 'edge: image of the injected sidecar, by digest in production (required)',
  GLMQUOTA_SIDECAR_PULL_POLICY: 'edge: Always, IfNotPresent or Never; default IfNotPresent',
  GLMQUOTA_SIDECAR_LOG_LEVEL: "edge: the sidecars' log level; default info",
  GLMQUOTA_SIDECAR_RESOURCES: 'edge: JSON {"requests":{…},"limits":{…}} of the sidecar; default none',
  GLMQUOTA_VERIFY_PEER: "edge: false serves sidecars whose address is not their pod's; default true",
  GLMQUOTA_LOG_LEVEL: 'debug, info, warn, error or silent; default info',
} as const;
type Variable = keyof typeof VARIABLES;

export type Environment = Readonly<Record<string, string | undefined>>;

const LEVELS: readonly LogLevel[] = ['debug', 'info', 'warn', 'error', 'silent'];
const PULL_POLICIES = ['Always', 'IfNotPresent', 'Never'] as const;

/** What `--help` prints about the environment, one variable a line. */
export function describeVariables(): string {
  return Object.entries(VARIABLES)
    .map(([name, text]) => `  ${name.padEnd(29)} ${text}`)
    .join('\n');
}

/** The configuration of this process; fails as `parseConfig` does. */
export function readConfig(role: Role): ControllerConfig | EdgeConfig {
  return parseConfig(role, process.env);
}

/** Fails with `invalid`, its message naming every problem at once. */
export function parseConfig(role: Role, environment: Environment): ControllerConfig | EdgeConfig {
  const reader = new Reader(environment);
  const common: CommonConfig = {
    logLevel: reader.choice('GLMQUOTA_LOG_LEVEL', LEVELS, 'info'),
    name: reader.text('GLMQUOTA_NAME') ?? 'glmquota',
    namespace: reader.required('GLMQUOTA_NAMESPACE'),
    podName: reader.required('GLMQUOTA_POD_NAME'),
    redisUrl: reader.redisUrl('GLMQUOTA_REDIS_URL'),
    redisSecret: reader.required('GLMQUOTA_REDIS_SECRET'),
    allowedOrigins: (reader.text('GLMQUOTA_ALLOWED_ORIGINS') ?? '')
      .split(',')
      .map((each) => each.trim())
      .filter((each) => each !== ''),
  };
  const config: ControllerConfig | EdgeConfig =
    role === 'controller'
      ? { ...common, role, managesRedisSecret: reader.flag('GLMQUOTA_MANAGE_REDIS_SECRET', false) }
      : {
          ...common,
          role,
          sidecar: {
            image: reader.required('GLMQUOTA_SIDECAR_IMAGE'),
            imagePullPolicy: reader.choice('GLMQUOTA_SIDECAR_PULL_POLICY', PULL_POLICIES, 'IfNotPresent'),
            logLevel: reader.choice('GLMQUOTA_SIDECAR_LOG_LEVEL', LEVELS, 'info'),
            resources: reader.resources('GLMQUOTA_SIDECAR_RESOURCES'),
          },
          verifyPeerAddress: reader.flag('GLMQUOTA_VERIFY_PEER', true),
        };
  if (reader.problems.length > 0) throw new AppError('invalid', reader.problems.join('\n'));
  return Object.freeze(config);
}

class Reader {
  readonly problems: string[] = [];
  readonly #environment: Environment;

  constructor(environment: Environment) {
    this.#environment = environment;
  }

  text(name: Variable): string | null {
    return this.#environment[name]?.trim() || null;
  }

  required(name: Variable): string {
    const given = this.text(name);
    if (given === null) this.problems.push(`${name} is required: ${VARIABLES[name].replace(' (required)', '')}`);
    return given ?? '';
  }

  choice<T extends string>(name: Variable, choices: readonly T[], fallback: T): T {
    const given = this.text(name);
    if (given === null) return fallback;
    const found = choices.find((each) => each === given);
    if (found === undefined) this.problems.push(`${name} must be one of ${choices.join(', ')}, not "${given}"`);
    return found ?? fallback;
  }

  flag(name: Variable, fallback: boolean): boolean {
    return this.choice(name, ['true', 'false'], fallback ? 'true' : 'false') === 'true';
  }

  redisUrl(name: Variable): string {
    const given = this.required(name);
    if (given === '') return '';
    try {
      parseRedisUrl(given);
    } catch (reason) {
      this.problems.push(`${name}: ${AppError.from(reason).message}`);
    }
    return given;
  }

  resources(name: Variable): EdgeConfig['sidecar']['resources'] {
    const given = this.text(name);
    if (given === null) return { requests: {}, limits: {} };
    try {
      const { requests = {}, limits = {} } = JSON.parse(given) as Partial<EdgeConfig['sidecar']['resources']>;
      if ([requests, limits].every(isQuantities)) return { requests, limits };
    } catch {
      // Reported below, as any other wrong value.
    }
    this.problems.push(`${name} must be JSON such as {"requests":{"cpu":"20m"},"limits":{"memory":"256Mi"}}`);
    return { requests: {}, limits: {} };
  }
}

function isQuantities(value: unknown): boolean {
  return typeof value === 'object' && value !== null && Object.values(value).every((each) => typeof each === 'string');
}
