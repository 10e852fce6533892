/** Checkpoints in Secrets of the operator's namespace, one a tree. */
import { promisify } from 'node:util';
import { gunzip, gzip } from 'node:zlib';
import type { KubeClient } from '../../runtime/client.ts';
import { AppError } from '../../../sidecar/base/errors.ts';
import type { Log } from '../../../sidecar/base/log.ts';
import type { TreeKey } from '../../../sidecar/engine/tree-terms.ts';
import { SECRETS } from '../world/kinds.ts';
import type { StoredCheckpoint } from './plan.ts';

export interface CheckpointPlace {
  readonly client: Pick<KubeClient, 'get' | 'apply'>;
  readonly namespace: string;
  /** Before the tree's key in the Secret's name. */
  readonly prefix: string;
  readonly log: Log;
}

const FIELD_MANAGER = 'glmquota-checkpoint';
const TYPE = 'glmquota.io/checkpoint';
const DATA_KEY = 'usage.json.gz';
/** The API server takes a MiB in all, in base64. */
const MAX_BYTES = 700_000;

export interface Found {
  readonly checkpoint: StoredCheckpoint;
  readonly resourceVersion: string;
}

/** Null: there is none, or none that can be read, which is logged. Fails when the API server cannot be asked. */
export async function readCheckpoint(place: CheckpointPlace, key: TreeKey, signal: AbortSignal): Promise<Found | null> {
  const { client, namespace, prefix, log } = place;
  const secret = await client.get(SECRETS, { namespace, name: prefix + key }, { signal });
  const data = (secret?.['data'] ?? {}) as Readonly<Record<string, unknown>>;
  const text = data[DATA_KEY];
  if (secret === null || typeof text !== 'string') return null;
  try {
    const bytes = await promisify(gunzip)(Buffer.from(text, 'base64'));
    const checkpoint = JSON.parse(bytes.toString('utf8')) as StoredCheckpoint;
    return { checkpoint, resourceVersion: secret.metadata.resourceVersion };
  } catch (reason) {
    log.error('checkpoint.unreadable', { tree: key, cause: AppError.from(reason).message });
    return null;
  }
}

/** The resourceVersion written. `known`: the one it replaces, null for none; fails with `conflict` when it is another. */
export async function writeCheckpoint(
  place: CheckpointPlace,
  key: TreeKey,
  { checkpoint, known }: { readonly checkpoint: StoredCheckpoint; readonly known: string | null },
  signal: AbortSignal,
): Promise<string> {
  const { client, namespace, prefix } = place;
  const bytes = await promisify(gzip)(JSON.stringify(checkpoint));
  if (bytes.length > MAX_BYTES)
    throw new AppError('tooLarge', `the checkpoint of tree ${key} has ${bytes.length} bytes, at most ${MAX_BYTES} fit`);
  const metadata = { namespace, name: prefix + key, ...(known === null ? {} : { resourceVersion: known }) };
  const data = { [DATA_KEY]: bytes.toString('base64') };
  const secret = { apiVersion: 'v1', kind: SECRETS.kind, metadata, type: TYPE, data };
  const answer = await client.apply(SECRETS, secret, { fieldManager: FIELD_MANAGER, force: true, signal });
  return answer.metadata.resourceVersion;
}
