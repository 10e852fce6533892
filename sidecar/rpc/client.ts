/** Typed clients over a channel. */
import type { DescMessage, DescMethod, DescService, MessageInitShape, MessageShape } from '@bufbuild/protobuf';
import { type CallOptions as GrpcCallOptions, type Client, Metadata, type ServiceError } from '@grpc/grpc-js';
import type { Readable, Writable } from 'node:stream';
import { orAbort } from '../base/abort.ts';
import type { Clock } from '../base/clock.ts';
import { AppError } from '../base/errors.ts';
import type { Channel } from './channel.ts';
import { decodeMessage, encodeMessage, pathOf, sameBytes } from './codec.ts';
import type { CallOptions, RpcClient } from './handlers.ts';
import { decodeError } from './status.ts';
import { messagesOf, pump } from './streams.ts';

type Request = MessageInitShape<DescMessage>;
type Reply = MessageShape<DescMessage>;

/** A client for all RPCs of the service. */
export function createClient<S extends DescService>(service: S, channel: Channel): RpcClient<S> {
  const methods = service.methods.map((method) => [method.localName, methodOf(method, channel)]);
  return Object.fromEntries(methods) as RpcClient<S>;
}

function methodOf(method: DescMethod, channel: Channel): unknown {
  const target: Target = { client: channel.grpc, clock: channel.clock, method };
  switch (method.methodKind) {
    case 'unary':
      return (request: Request, options: CallOptions = {}) => callUnary(target, request, options);
    case 'client_streaming':
      return (requests: AsyncIterable<Request>, options: CallOptions = {}) => callWithStream(target, requests, options);
    case 'server_streaming':
      return (request: Request, options: CallOptions = {}) => callForStream(target, request, options);
    case 'bidi_streaming':
      return (requests: AsyncIterable<Request>, options: CallOptions = {}) => callBothWays(target, requests, options);
  }
}

interface Target {
  readonly client: Client;
  readonly clock: Clock;
  readonly method: DescMethod;
}

interface Cancellable {
  cancel(): void;
  on(event: 'error', listener: () => void): unknown;
}

async function callUnary(target: Target, request: Request, options: CallOptions): Promise<Reply> {
  options.signal?.throwIfAborted();
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
  const call = target.client.makeUnaryRequest(
    pathOf(target.method),
    sameBytes,
    sameBytes,
    encodeMessage(target.method.input, request),
    metadataOf(options),
    deadlineOf(target, options),
    (error, reply) => (reply ? resolve(reply) : reject(failureOf(error, options))),
  );
  using _ = cancelOnAbort(call, options.signal);
  return decodeMessage(target.method.output, await promise);
}

async function callWithStream(target: Target, requests: AsyncIterable<Request>, options: CallOptions): Promise<Reply> {
  options.signal?.throwIfAborted();
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
  const call = target.client.makeClientStreamRequest(
    pathOf(target.method),
    sameBytes,
    sameBytes,
    metadataOf(options),
    deadlineOf(target, options),
    (error, reply) => (reply ? resolve(reply) : reject(failureOf(error, options))),
  );
  using _ = cancelOnAbort(call, options.signal);
  using _sender = sendAll(target, requests, { call, onFailure: reject });
  return decodeMessage(target.method.output, await promise);
}

async function* callForStream(target: Target, request: Request, options: CallOptions): AsyncGenerator<Reply> {
  options.signal?.throwIfAborted();
  const call = target.client.makeServerStreamRequest(
    pathOf(target.method),
    sameBytes,
    sameBytes,
    encodeMessage(target.method.input, request),
    metadataOf(options),
    deadlineOf(target, options),
  );
  yield* receive(target, call, options);
}

async function* callBothWays(
  target: Target,
  requests: AsyncIterable<Request>,
  options: CallOptions,
): AsyncGenerator<Reply> {
  options.signal?.throwIfAborted();
  const call = target.client.makeBidiStreamRequest(
    pathOf(target.method),
    sameBytes,
    sameBytes,
    metadataOf(options),
    deadlineOf(target, options),
  );
  const sending: { failure?: Error } = {};
  using _sender = sendAll(target, requests, { call, onFailure: (reason) => (sending.failure = reason) });
  try {
    yield* receive(target, call, options);
  } catch (reason) {
    throw sending.failure ?? reason;
  }
}

/** Yields the replies of a streaming call; leaving it, for whatever reason, cancels the call. */
async function* receive(target: Target, call: Readable & Cancellable, options: CallOptions): AsyncGenerator<Reply> {
  using _ = cancelOnAbort(call, options.signal);
  const decode = (bytes: Buffer): Reply => decodeMessage(target.method.output, bytes);
  try {
    yield* messagesOf(call, decode, new AbortController().signal);
  } catch (reason) {
    throw failureOf(reason, options);
  } finally {
    call.cancel();
  }
}

/**
 * Sends the requests and then half-closes; stops when disposed. An error of `requests` itself cancels the call and
 * is reported: the call's own status (`cancelled`) would hide it.
 */
function sendAll(
  target: Target,
  requests: AsyncIterable<Request>,
  to: { readonly call: Writable & Cancellable; readonly onFailure: (reason: Error) => void },
): Disposable {
  const ended = new AbortController();
  const encode = (request: Request): Buffer => encodeMessage(target.method.input, request);
  const send = async (): Promise<void> => {
    await orAbort(connected(target.client), ended.signal);
    await pump(requests, { stream: to.call, encode }, ended.signal);
    to.call.end();
  };
  send().catch((reason: Error) => {
    if (ended.signal.aborted) return;
    to.onFailure(reason);
    to.call.cancel();
  });
  return { [Symbol.dispose]: () => ended.abort(new AppError('cancelled', 'the call is over')) };
}

/** grpc-js buffers without bound what is written before there is a connection. Ends with the channel at the latest. */
function connected(client: Client): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  client.waitForReady(Infinity, () => resolve());
  return promise;
}

function metadataOf(options: CallOptions): Metadata {
  const metadata = new Metadata();
  if (options.bearer !== undefined) metadata.set('authorization', `Bearer ${options.bearer}`);
  return metadata;
}

function deadlineOf(target: Target, options: CallOptions): GrpcCallOptions {
  return options.timeoutMs === undefined ? {} : { deadline: target.clock.nowMs() + options.timeoutMs };
}

/** An error event that nobody reads (the call was left already) must not end the process. */
function cancelOnAbort(call: Cancellable, signal: AbortSignal | undefined): Disposable {
  call.on('error', () => undefined);
  const cancel = (): void => call.cancel();
  signal?.addEventListener('abort', cancel, { once: true });
  return { [Symbol.dispose]: () => signal?.removeEventListener('abort', cancel) };
}

function failureOf(reason: unknown, options: CallOptions): unknown {
  if (options.signal?.aborted === true) return options.signal.reason;
  if (isServiceError(reason)) return decodeError(reason);
  return AppError.from(reason);
}

function isServiceError(reason: unknown): reason is ServiceError {
  return reason instanceof Error && 'details' in reason && 'code' in reason && typeof reason.code === 'number';
}
