/** What local mode takes from its environment: everything is passed on to the sidecar, the ports are looked at. */

export interface LocalConfig {
  readonly variables: Readonly<Record<string, string | undefined>>;
  /** Where the proxy and the LeaseService would like to listen; another port is taken when these are in use. */
  readonly httpPort: number;
  readonly grpcPort: number;
}

/** Numbers that are none are left to the sidecar to complain about. */
export function readLocalConfig(): LocalConfig {
  const port = (name: string, fallback: number): number => {
    const value = Number(process.env[name] ?? fallback);
    return Number.isInteger(value) && value >= 0 && value <= 65_535 ? value : fallback;
  };
  return Object.freeze({
    variables: { ...process.env },
    httpPort: port('GLMQUOTA_HTTP_PORT', 15_787),
    grpcPort: port('GLMQUOTA_GRPC_PORT', 15_788),
  });
}
