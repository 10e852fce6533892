/** Where each account's calls go and with which key; which accounts hold the same key. */
import type { Catalog } from '../../sidecar/catalog/terms.ts';
import { objectId } from './names.ts';
import { decideOrigin } from './origins.ts';
import type { Root } from './roots.ts';
import type { CompileInput, Delivery, Fault } from './terms.ts';

export interface DeliveryDecision {
  /** Null exactly when there is a fault, or the account does not parse. */
  readonly delivery: Delivery | null;
  readonly fault: Fault | null;
}

/** By account id. */
export function decideDeliveries(
  input: CompileInput,
  roots: ReadonlyMap<string, Root>,
): ReadonlyMap<string, DeliveryDecision> {
  const owners = keyOwners(input, roots);
  return new Map([...roots.values()].map((root) => [root.id, decide(root, input, owners)]));
}

function secretOf(root: Root): { readonly namespace: string; readonly name: string } {
  return { namespace: root.namespace, name: root.account?.spec.credentialSecretRef.name ?? '' };
}

function decide(root: Root, input: CompileInput, owners: ReadonlyMap<string, string>): DeliveryDecision {
  const spec = root.account?.spec;
  if (!spec) return { delivery: null, fault: null };
  const none = (reason: Fault['reason'], message: string): DeliveryDecision => ({
    delivery: null,
    fault: { reason, message },
  });
  const secret = secretOf(root);
  const reading = input.credentials.get(objectId(secret));
  if (!reading) {
    const message = `there is no Secret ${objectId(secret)} of type glmquota.io/credential; create it with data.apiKey`;
    return none('CredentialMissing', message);
  }
  if (!reading.ok) return none('CredentialInvalid', `Secret ${objectId(secret)} ${reading.message}`);
  const origin = decideOrigin(spec.region, reading.origin, input.allowedOrigins);
  if (!origin.ok) return none(origin.reason, origin.message);
  const owner = owners.get(reading.keyHash);
  if (owner !== undefined && owner !== root.id)
    return none(
      'DuplicateAccount',
      `GLMAccount ${owner} holds the same vendor key and is older; this one grants nothing`,
    );
  const catalog: Catalog | undefined = input.catalogs.get(spec.catalogRef.name);
  if (!catalog) return { delivery: null, fault: null };
  const { billing, currency, retry, onStoreFailure, durability } = spec;
  const policies = { retry, onStoreFailure, durability };
  return {
    delivery: { billing, currency, origin: origin.origin, secret, catalog: spec.catalogRef.name, ...policies },
    fault: null,
  };
}

/** The oldest account of each key, by key hash; among equals the first by name. */
function keyOwners(input: CompileInput, roots: ReadonlyMap<string, Root>): ReadonlyMap<string, string> {
  const age = (root: Root): string => root.account?.metadata.creationTimestamp ?? '';
  const byAge = [...roots.values()].toSorted((a, b) => {
    if (age(a) !== age(b)) return age(a) < age(b) ? -1 : 1;
    return a.id < b.id ? -1 : 1;
  });
  const owners = new Map<string, string>();
  for (const root of byAge) {
    const reading = root.account ? input.credentials.get(objectId(secretOf(root))) : undefined;
    if (reading?.ok && !owners.has(reading.keyHash)) owners.set(reading.keyHash, root.id);
  }
  return owners;
}
