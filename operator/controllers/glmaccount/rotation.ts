/** Another password for the Redis user of one tree (rule W5), asked for by annotation: controller and edge both read that. */
import { ANNOTATION_ROTATE } from '../../api/v1alpha1/labels.ts';
import { API_VERSION } from '../../api/v1alpha1/resource.ts';
import type { KubeClient } from '../../runtime/client.ts';
import type { Clock } from '../../../sidecar/base/clock.ts';
import { AppError } from '../../../sidecar/base/errors.ts';
import type { Log } from '../../../sidecar/base/log.ts';
import type { TreeConfig } from '../../../sidecar/engine/tree-terms.ts';
import { GLM_ACCOUNTS } from '../world/kinds.ts';

const FIELD_MANAGER = 'glmquota-tree-user';

export interface RotationOptions {
  readonly client: Pick<KubeClient, 'apply'>;
  readonly clock: Clock;
  readonly log: Log;
}

/** Fails when the API server cannot be asked; an account that is gone needs nothing. */
export async function rotateUser(
  { client, clock, log }: RotationOptions,
  { namespace, name }: TreeConfig['account'],
  signal: AbortSignal,
): Promise<void> {
  const annotations = { [ANNOTATION_ROTATE]: new Date(clock.nowMs()).toISOString() };
  const account = { apiVersion: API_VERSION, kind: GLM_ACCOUNTS.kind, metadata: { namespace, name, annotations } };
  try {
    await client.apply(GLM_ACCOUNTS, account, { fieldManager: FIELD_MANAGER, force: true, signal });
    log.warn('tree.userRotated', { account: `${namespace}/${name}` });
  } catch (reason) {
    const error = AppError.from(reason);
    // To apply to what is not there would make it, and without a spec it cannot be made.
    if (error.code !== 'invalid') throw error;
    log.warn('tree.userNotRotated', { account: `${namespace}/${name}`, cause: error.message });
  }
}
