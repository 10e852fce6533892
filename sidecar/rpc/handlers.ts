/** What a service and its client look like, derived from the protobuf descriptor: a forgotten RPC does not compile. */
import type {
  DescMethodBiDiStreaming,
  DescMethodClientStreaming,
  DescMethodServerStreaming,
  DescMethodUnary,
  DescService,
  MessageInitShape,
  MessageShape,
} from '@bufbuild/protobuf';

/** What a handler knows of its call. */
export interface CallContext {
  /**
   * Aborts when the caller goes away (`cancelled`), its deadline passes (`deadline`) or the server stops
   * (`unavailable`); the reason is the AppError the call then ends with. Also aborts, unseen, after the call.
   */
  readonly signal: AbortSignal;
  /** The bearer token of the `authorization` metadata; null: none was sent. */
  readonly bearer: string | null;
  /** IP address of the other end of the connection, IPv4 in its plain form; null on a Unix socket. */
  readonly peerAddress: string | null;
}

/**
 * Responses may end with an error after some messages: throw it. Requests end, or fail with the signal's reason. Their
 * end alone does not say that they are complete: Node's HTTP/2 ends a stream before it resets it, so whoever acts on
 * a complete list looks for a closing message of the protocol.
 */
export type Handler<M> =
  M extends DescMethodUnary<infer I, infer O>
    ? (request: MessageShape<I>, context: CallContext) => Promise<MessageInitShape<O>>
    : M extends DescMethodServerStreaming<infer I, infer O>
      ? (request: MessageShape<I>, context: CallContext) => AsyncIterable<MessageInitShape<O>>
      : M extends DescMethodClientStreaming<infer I, infer O>
        ? (requests: AsyncIterable<MessageShape<I>>, context: CallContext) => Promise<MessageInitShape<O>>
        : M extends DescMethodBiDiStreaming<infer I, infer O>
          ? (requests: AsyncIterable<MessageShape<I>>, context: CallContext) => AsyncIterable<MessageInitShape<O>>
          : never;

export type Handlers<S extends DescService> = { readonly [K in keyof S['method']]: Handler<S['method'][K]> };

export interface CallOptions {
  /** Ends the call; it then fails with the signal's reason. */
  readonly signal?: AbortSignal;
  /** The call fails with code `deadline` after this time, on the server as well; absent: never. */
  readonly timeoutMs?: number;
  /** Sent as `authorization: Bearer …`. */
  readonly bearer?: string;
}

/**
 * Calls fail with an AppError whose code is that of the server's status. Streaming calls start when they are first
 * iterated and end, also on the server, when the iteration is left.
 */
export type ClientMethod<M> =
  M extends DescMethodUnary<infer I, infer O>
    ? (request: MessageInitShape<I>, options?: CallOptions) => Promise<MessageShape<O>>
    : M extends DescMethodServerStreaming<infer I, infer O>
      ? (request: MessageInitShape<I>, options?: CallOptions) => AsyncIterable<MessageShape<O>>
      : M extends DescMethodClientStreaming<infer I, infer O>
        ? (requests: AsyncIterable<MessageInitShape<I>>, options?: CallOptions) => Promise<MessageShape<O>>
        : M extends DescMethodBiDiStreaming<infer I, infer O>
          ? (requests: AsyncIterable<MessageInitShape<I>>, options?: CallOptions) => AsyncIterable<MessageShape<O>>
          : never;

export type RpcClient<S extends DescService> = { readonly [K in keyof S['method']]: ClientMethod<S['method'][K]> };
