/** Turns typed handlers into what a grpc-js server calls. All errors of a call end here, as its status. */
import type { DescMethod, DescService, MessageInitShape, DescMessage, MessageShape } from '@bufbuild/protobuf';
import type {
  handleUnaryCall as UnaryCall,
  MethodDefinition,
  ServerDuplexStream,
  ServerUnaryCall,
  ServerWritableStream,
  UntypedHandleCall,
  sendUnaryData,
  ServerReadableStream,
} from '@grpc/grpc-js';
import type { Clock } from '../base/clock.ts';
import { AppError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import { type LiveCall, openCall, type ServerCall } from './call.ts';
import { decodeMessage, encodeMessage, pathOf, sameBytes } from './codec.ts';
import type { CallContext, Handlers } from './handlers.ts';
import { encodeError, type FailedStatus } from './status.ts';
import { messagesOf, pump } from './streams.ts';

type Request = MessageShape<DescMessage>;
type Response = MessageInitShape<DescMessage>;
type Replies = (input: unknown, context: CallContext) => Promise<Response>;
type Streams = (input: unknown, context: CallContext) => AsyncIterable<Response>;

export interface BindOptions {
  readonly clock: Clock;
  readonly log: Log;
  /** Calls that run now; the server aborts them when it stops. */
  readonly live: Set<LiveCall>;
}

export interface BoundService {
  readonly definition: Record<string, MethodDefinition<Buffer, Buffer>>;
  readonly implementation: Record<string, UntypedHandleCall>;
}

/** The service as grpc-js wants it: every RPC of the descriptor, bytes in and bytes out. */
export function bindService<S extends DescService>(
  service: S,
  handlers: Handlers<S>,
  options: BindOptions,
): BoundService {
  const definition: Record<string, MethodDefinition<Buffer, Buffer>> = {};
  const implementation: Record<string, UntypedHandleCall> = {};
  const byName = handlers as Readonly<Record<string, unknown>>;
  for (const method of service.methods) {
    definition[method.localName] = definitionOf(method);
    implementation[method.localName] = bindMethod(method, byName[method.localName], options);
  }
  return { definition, implementation };
}

function definitionOf(method: DescMethod): MethodDefinition<Buffer, Buffer> {
  return {
    path: pathOf(method),
    requestStream: method.methodKind === 'client_streaming' || method.methodKind === 'bidi_streaming',
    responseStream: method.methodKind === 'server_streaming' || method.methodKind === 'bidi_streaming',
    requestSerialize: sameBytes,
    requestDeserialize: sameBytes,
    responseSerialize: sameBytes,
    responseDeserialize: sameBytes,
  };
}

/** `handler` is the one that `Handlers` demands for this method: only the descriptor's kind says which type that is. */
function bindMethod(method: DescMethod, handler: unknown, options: BindOptions): UntypedHandleCall {
  const decode = (bytes: Uint8Array): Request => decodeMessage(method.input, bytes);
  const encode = (response: Response): Buffer => encodeMessage(method.output, response);
  const run: Runner = (call, work) => runCall(pathOf(method), call, { options, work });
  switch (method.methodKind) {
    case 'unary': {
      const reply = handler as Replies;
      const unary: UnaryCall<Buffer, Buffer> = (call: ServerUnaryCall<Buffer, Buffer>, send): void =>
        answer(
          run(call, async (context) => encode(await reply(decode(call.request), context))),
          send,
        );
      return unary;
    }
    case 'client_streaming': {
      const reply = handler as Replies;
      return (call: ServerReadableStream<Buffer, Buffer>, send: sendUnaryData<Buffer>): void =>
        answer(
          run(call, async (context) => encode(await reply(messagesOf(call, decode, context.signal), context))),
          send,
        );
    }
    case 'server_streaming': {
      const stream = handler as Streams;
      return (call: ServerWritableStream<Buffer, Buffer>): void =>
        finish(
          run(call, (context) => pump(stream(decode(call.request), context), { stream: call, encode }, context.signal)),
          call,
        );
    }
    case 'bidi_streaming': {
      const stream = handler as Streams;
      return (call: ServerDuplexStream<Buffer, Buffer>): void =>
        finish(
          run(call, (context) => {
            const requests = messagesOf(call, decode, context.signal);
            return pump(stream(requests, context), { stream: call, encode }, context.signal);
          }),
          call,
        );
    }
  }
}

type Ended<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly status: FailedStatus };
type Runner = <T>(call: ServerCall, work: (context: CallContext) => Promise<T>) => Promise<Ended<T>>;

async function runCall<T>(
  path: string,
  call: ServerCall,
  job: { readonly options: BindOptions; readonly work: (context: CallContext) => Promise<T> },
): Promise<Ended<T>> {
  const { clock, live, log } = job.options;
  const open = openCall(call, clock);
  live.add(open);
  try {
    return { ok: true, value: await job.work(open.context) };
  } catch (reason) {
    const { signal } = open.context;
    const error = AppError.from(signal.aborted ? signal.reason : reason);
    if (error.code === 'internal') log.error('rpc.failed', { path, cause: traceOf(error) });
    return { ok: false, status: encodeError(error) };
  } finally {
    open.end();
    live.delete(open);
  }
}

/** Where it really broke: an unknown throwable is the cause of the AppError made of it here. */
function traceOf(error: AppError): string {
  const origin = error.cause instanceof Error ? error.cause : error;
  return origin.stack ?? origin.message;
}

function answer(ended: Promise<Ended<Buffer>>, send: sendUnaryData<Buffer>): void {
  void ended.then((end) => (end.ok ? send(null, end.value) : send(end.status)));
}

function finish(
  ended: Promise<Ended<void>>,
  call: ServerWritableStream<Buffer, Buffer> | ServerDuplexStream<Buffer, Buffer>,
): void {
  void ended.then((end) => {
    if (end.ok) call.end();
    else call.emit('error', end.status);
  });
}
