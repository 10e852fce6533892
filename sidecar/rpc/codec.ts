/** Messages to and from the bytes grpc-js carries. */
import {
  create,
  type DescMessage,
  type DescMethod,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from '@bufbuild/protobuf';
import { AppError } from '../base/errors.ts';

/** The HTTP/2 path of an RPC. */
export function pathOf(method: DescMethod): string {
  return `/${method.parent.typeName}/${method.name}`;
}

/** The message's bytes, not copied. */
export function encodeMessage<D extends DescMessage>(schema: D, init: MessageInitShape<D>): Buffer {
  const bytes = toBinary(schema, create(schema, init));
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** The message, or AppError `invalid` for bytes that are not one. */
export function decodeMessage<D extends DescMessage>(schema: D, bytes: Uint8Array): MessageShape<D> {
  try {
    return fromBinary(schema, bytes);
  } catch (cause) {
    throw new AppError('invalid', `the bytes are no ${schema.typeName}`, { cause });
  }
}

/** grpc-js is handed bytes and hands out bytes, so that a bad message becomes our status and not its own. */
export function sameBytes(bytes: Buffer): Buffer {
  return bytes;
}
