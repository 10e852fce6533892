/** The authority all replicas share: a Secret in the operator's namespace, made by whoever comes first. */
import { AppError } from '../../sidecar/base/errors.ts';
import type { Clock } from '../../sidecar/base/clock.ts';
import type { KubeClient } from '../runtime/client.ts';
import type { KubeObject, ResourceType } from '../runtime/resources.ts';
import { createAuthority, type KeyPair, notAfterMs } from './x509.ts';

export const SECRETS: ResourceType = { group: '', version: 'v1', plural: 'secrets', kind: 'Secret', namespaced: true };

const WEBHOOK_CONFIGURATIONS: ResourceType = {
  group: 'admissionregistration.k8s.io',
  version: 'v1',
  plural: 'mutatingwebhookconfigurations',
  kind: 'MutatingWebhookConfiguration',
  namespaced: false,
};

/** Ten years: until the authority can be rotated with overlap, it must not end under a running cluster. */
const AUTHORITY_DAYS = 3650;

export interface SecretPlace {
  readonly client: KubeClient;
  readonly namespace: string;
  readonly name: string;
  readonly signal: AbortSignal;
}

/** The decoded `data` of a Secret; entries that are no strings are left out. */
export function secretData(secret: KubeObject): Readonly<Record<string, string>> {
  const data = secret['data'];
  if (typeof data !== 'object' || data === null) return {};
  return Object.fromEntries(
    Object.entries(data).flatMap(([key, value]) =>
      typeof value === 'string' ? [[key, Buffer.from(value, 'base64').toString('utf8')]] : [],
    ),
  );
}

/**
 * The Secret's data, made by `make` when there is none. When two replicas make it at once one of them wins and both
 * get the winner's. Fails with `invalid` when the Secret lacks one of `keys`: somebody else's object has our name.
 */
export async function ensureSecret(
  place: SecretPlace,
  keys: readonly string[],
  make: () => Promise<Readonly<Record<string, string>>>,
): Promise<Readonly<Record<string, string>>> {
  const { client, namespace, name, signal } = place;
  const found = await client.get(SECRETS, { namespace, name }, { signal });
  if (found === null) return createSecret(place, keys, make);
  const data = secretData(found);
  const missing = keys.filter((key) => data[key] === undefined);
  if (missing.length > 0) {
    throw new AppError(
      'invalid',
      `Secret ${namespace}/${name} lacks ${missing.join(', ')}; delete it to have it made anew`,
    );
  }
  return data;
}

async function createSecret(
  place: SecretPlace,
  keys: readonly string[],
  make: () => Promise<Readonly<Record<string, string>>>,
): Promise<Readonly<Record<string, string>>> {
  const { client, namespace, name, signal } = place;
  const data = await make();
  const encoded = Object.fromEntries(
    Object.entries(data).map(([key, text]) => [key, Buffer.from(text).toString('base64')]),
  );
  try {
    const metadata = { namespace, name, labels: { 'app.kubernetes.io/managed-by': 'glmquota' } };
    await client.create(
      SECRETS,
      { apiVersion: 'v1', kind: 'Secret', metadata, type: 'Opaque', data: encoded },
      { signal },
    );
    return data;
  } catch (reason) {
    if (reason instanceof AppError && reason.code === 'conflict') return ensureSecret(place, keys, make);
    throw reason;
  }
}

/** The authority of `place`, valid for now. Fails with `invalid` when it has ended. */
export async function ensureAuthority(place: SecretPlace, clock: Clock): Promise<KeyPair> {
  const data = await ensureSecret(place, ['tls.crt', 'tls.key'], async () => {
    const made = await createAuthority('glmquota', { nowMs: clock.nowMs(), days: AUTHORITY_DAYS });
    return { 'tls.crt': made.certPem, 'tls.key': made.keyPem };
  });
  const pair: KeyPair = { certPem: data['tls.crt'] ?? '', keyPem: data['tls.key'] ?? '' };
  if (notAfterMs(pair.certPem) <= clock.nowMs()) {
    throw new AppError(
      'invalid',
      `the authority in Secret ${place.namespace}/${place.name} has ended; delete the Secret and restart`,
    );
  }
  return pair;
}

/** Makes every webhook of the configuration trust `caPem`; true when it had to be written. */
export async function trustAuthority(
  client: KubeClient,
  configuration: string,
  caPem: string,
  signal: AbortSignal,
): Promise<boolean> {
  const found = await client.get(WEBHOOK_CONFIGURATIONS, { name: configuration }, { signal });
  if (found === null) {
    throw new AppError('notFound', `MutatingWebhookConfiguration ${configuration} does not exist`, { transient: true });
  }
  const caBundle = Buffer.from(caPem).toString('base64');
  const webhooks = found['webhooks'] as readonly { clientConfig?: { caBundle?: string } }[] | undefined;
  const operations = (webhooks ?? []).flatMap((webhook, i) =>
    webhook.clientConfig?.caBundle === caBundle
      ? []
      : [{ op: 'add', path: `/webhooks/${i}/clientConfig/caBundle`, value: caBundle }],
  );
  if (operations.length === 0) return false;
  // The index is only right for the version it was read from.
  const test = { op: 'test', path: '/metadata/resourceVersion', value: found.metadata.resourceVersion };
  await client.patch(
    WEBHOOK_CONFIGURATIONS,
    { name: configuration },
    { kind: 'json', operations: [test, ...operations] },
    { signal },
  );
  return true;
}
