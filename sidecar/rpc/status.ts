/** The one table between our error codes and gRPC status codes, read in both directions. */
import { status as GrpcStatus } from '@grpc/grpc-js';
import { AppError, type Code } from '../base/errors.ts';

const STATUS_OF: Readonly<Record<Code, GrpcStatus>> = {
  invalid: GrpcStatus.INVALID_ARGUMENT,
  unauthenticated: GrpcStatus.UNAUTHENTICATED,
  forbidden: GrpcStatus.PERMISSION_DENIED,
  notFound: GrpcStatus.NOT_FOUND,
  conflict: GrpcStatus.ABORTED,
  exhausted: GrpcStatus.RESOURCE_EXHAUSTED,
  tooLarge: GrpcStatus.OUT_OF_RANGE,
  unavailable: GrpcStatus.UNAVAILABLE,
  deadline: GrpcStatus.DEADLINE_EXCEEDED,
  cancelled: GrpcStatus.CANCELLED,
  unsupported: GrpcStatus.UNIMPLEMENTED,
  internal: GrpcStatus.INTERNAL,
};

const CODE_OF: Readonly<Record<GrpcStatus, Code>> = {
  [GrpcStatus.OK]: 'internal', // never the status of a failure
  [GrpcStatus.CANCELLED]: 'cancelled',
  [GrpcStatus.UNKNOWN]: 'internal',
  [GrpcStatus.INVALID_ARGUMENT]: 'invalid',
  [GrpcStatus.DEADLINE_EXCEEDED]: 'deadline',
  [GrpcStatus.NOT_FOUND]: 'notFound',
  [GrpcStatus.ALREADY_EXISTS]: 'conflict',
  [GrpcStatus.PERMISSION_DENIED]: 'forbidden',
  [GrpcStatus.RESOURCE_EXHAUSTED]: 'exhausted',
  [GrpcStatus.FAILED_PRECONDITION]: 'conflict',
  [GrpcStatus.ABORTED]: 'conflict',
  [GrpcStatus.OUT_OF_RANGE]: 'tooLarge',
  [GrpcStatus.UNIMPLEMENTED]: 'unsupported',
  [GrpcStatus.INTERNAL]: 'internal',
  [GrpcStatus.UNAVAILABLE]: 'unavailable',
  [GrpcStatus.DATA_LOSS]: 'internal',
  [GrpcStatus.UNAUTHENTICATED]: 'unauthenticated',
};

/** The message travels in a trailer: past some 8 kB the peer's HTTP/2 stack resets the stream instead of reading it. */
const MAX_DETAILS_CHARACTERS = 1_000;

/** What grpc-js sends as the end of a failed call. */
export interface FailedStatus {
  readonly code: GrpcStatus;
  readonly details: string;
}

/** The exact status of a code. */
export function statusOf(code: Code): GrpcStatus {
  return STATUS_OF[code];
}

/** The code of a status, also of those that only foreign servers send. */
export function codeOf(status: GrpcStatus): Code {
  return CODE_OF[status] ?? 'internal';
}

/** The status a caller is shown. The text of an `internal` error stays here: it may quote anything. */
export function encodeError(error: AppError): FailedStatus {
  const details = error.code === 'internal' ? 'internal error' : error.message;
  return { code: statusOf(error.code), details: details.toWellFormed().slice(0, MAX_DETAILS_CHARACTERS) };
}

/** The error a client sees for a failed call; `details` is the server's message. */
export function decodeError(failure: { readonly code: GrpcStatus; readonly details: string }): AppError {
  return new AppError(codeOf(failure.code), failure.details, { cause: failure });
}
