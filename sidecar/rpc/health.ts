/** The standard gRPC health service: the server as a whole and its services by name. */
import { type Health, HealthCheckResponse_ServingStatus as Status } from '../../proto/gen/grpc/health/v1/health_pb.ts';
import type { Cell } from '../base/cell.ts';
import { AppError } from '../base/errors.ts';
import type { Handlers } from './handlers.ts';

/** `ready` answers for every service in `names` and for the server (the empty name). */
export function healthService(names: readonly string[], ready: Cell<boolean>): Handlers<typeof Health> {
  const served = new Set(['', ...names]);
  const status = (): Status => (ready.value ? Status.SERVING : Status.NOT_SERVING);
  return {
    check: async ({ service }) => {
      if (!served.has(service)) throw new AppError('notFound', 'no such service is served here');
      return { status: status() };
    },
    watch: async function* ({ service }, { signal }) {
      if (!served.has(service)) yield { status: Status.SERVICE_UNKNOWN };
      for (let told: Status | null = served.has(service) ? null : Status.SERVICE_UNKNOWN; ; await ready.next(signal)) {
        if (served.has(service) && status() !== told) yield { status: (told = status()) };
      }
    },
  };
}
