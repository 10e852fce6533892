/** Whether a pod may be served at all; pure. */
import { AppError } from '../../sidecar/base/errors.ts';
import { objectId } from '../trees/names.ts';
import type { TokenClaims } from './claims.ts';
import { repositoryOf } from './images.ts';
import type { SidecarFacts } from '../trees/sidecar-facts.ts';
import type { PodFacts, ReviewedPod } from './terms.ts';

/**
 * The pod the token names, seen at the address the call comes from. Fails with `unavailable` while the cache may
 * merely lag behind, and with `unauthenticated` for a pod of another uid or address. Its messages say nothing of the
 * pod: so far the caller is nobody.
 */
export function assertCaller(
  pod: PodFacts | null,
  claims: TokenClaims,
  peer: { readonly address: string | null; readonly verify: boolean },
): PodFacts {
  if (pod === null) throw new AppError('unavailable', "the token's pod is not known here yet");
  if (pod.uid !== claims.pod.uid) throw new AppError('unauthenticated', "the token's pod is gone");
  if (!peer.verify) return pod;
  if (pod.addresses.length === 0) throw new AppError('unavailable', "the token's pod has no address yet");
  if (peer.address === null || !pod.addresses.some((address) => sameAddress(address, peer.address ?? ''))) {
    throw new AppError('unauthenticated', 'the call does not come from the address of its pod');
  }
  return pod;
}

/** IPv6 addresses have many spellings; a URL knows the one. */
function sameAddress(a: string, b: string): boolean {
  return a === b || (a.includes(':') && b.includes(':') && canonical(a) === canonical(b));
}

function canonical(address: string): string {
  return URL.parse(`http://[${address}]`)?.hostname ?? address;
}

/** Fails with `unauthenticated` unless the API server says the same of the token as the token itself. */
export function assertReviewed(reviewed: ReviewedPod, claims: TokenClaims): void {
  const { namespace, name, uid } = claims.pod;
  if (reviewed.namespace === namespace && reviewed.name === name && reviewed.uid === uid) return;
  throw new AppError('unauthenticated', 'the token is not the one of the pod it names');
}

/**
 * The pod's sidecar, as long as it is ours: an image of the configured one's repository and a binding of its own. Fails
 * with `forbidden`: whoever may start pods could otherwise have the key sent to any program.
 *
 * Tag and digest may differ: after an upgrade the pods of the version before still run, and cutting them off would stop
 * every agent until it is restarted. That a sidecar starts with the very image configured at that time, and keeps it, is
 * for the admission policy to enforce; that it is not too old, for the version it tells.
 */
export function assertSidecar(
  pod: PodFacts | null,
  uid: string,
  image: string,
): SidecarFacts & { readonly binding: string } {
  if (pod === null || pod.uid !== uid || pod.ended) throw new AppError('forbidden', 'the pod has ended');
  const { sidecar } = pod;
  if (sidecar === null) throw new AppError('forbidden', `pod ${objectId(pod)} has no sidecar`);
  if (repositoryOf(sidecar.image) !== repositoryOf(image)) {
    const message = `the sidecar of pod ${objectId(pod)} runs image ${sidecar.image}, none of ${repositoryOf(image)}`;
    throw new AppError('forbidden', message);
  }
  const { binding } = sidecar;
  if (binding === null) throw new AppError('forbidden', `the sidecar of pod ${objectId(pod)} names no quota`);
  return { ...sidecar, binding };
}
