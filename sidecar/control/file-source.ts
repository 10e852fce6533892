/** Local mode: the snapshot stands in a file. */
import { fromJsonString } from '@bufbuild/protobuf';
import { readFile } from 'node:fs/promises';
import { SnapshotSchema } from '../../proto/gen/glmquota/v1/control_pb.ts';
import { AppError } from '../base/errors.ts';
import { decodeSnapshot } from './decode.ts';
import type { SnapshotSource } from './terms.ts';
import type { SidecarVersion } from './version.ts';

/**
 * The snapshot that `renderSnapshotFile` wrote to `path`, read once per watch. Fails with `notFound` without such a
 * file and with `invalid` when it holds anything else.
 */
export function fileSource(path: string, version: SidecarVersion): SnapshotSource {
  return {
    async *watch(signal) {
      yield decodeSnapshot(parse(await read(path, signal), path), version);
      if (!signal.aborted) await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
    },
  };
}

async function read(path: string, signal: AbortSignal): Promise<string> {
  try {
    return await readFile(path, { encoding: 'utf8', signal });
  } catch (cause) {
    throw new AppError('notFound', `cannot read the snapshot file ${path}`, { cause });
  }
}

function parse(json: string, path: string): ReturnType<typeof fromJsonString<typeof SnapshotSchema>> {
  try {
    return fromJsonString(SnapshotSchema, json);
  } catch (cause) {
    // The parser's message may quote the file, which holds the key.
    throw new AppError('invalid', `the snapshot file ${path} is no JSON form of glmquota.v1.Snapshot`, { cause });
  }
}
