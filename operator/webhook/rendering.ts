/** Compares what stands in a pod with what the injector would put there. */
import { createHash } from 'node:crypto';
import type { Container, Pod } from './pod-shape.ts';
import { SIDECAR_NAME, sidecarVolumes } from './sidecar-container.ts';

/** True when `actual` is `rendered` plus nothing but what the API server's own defaulting and admission adds. */
function isRendering(actual: Container, rendered: Container): boolean {
  return contains(actual, rendered, '');
}

function contains(actual: unknown, wanted: unknown, path: string): boolean {
  if (Array.isArray(wanted)) {
    if (!Array.isArray(actual)) return false;
    const own = path.endsWith('/volumeMounts') ? actual.filter((mount) => !isServiceAccountMount(mount)) : actual;
    return own.length === wanted.length && wanted.every((item, i) => contains(own[i], item, `${path}/${i}`));
  }
  if (typeof wanted !== 'object' || wanted === null) return actual === wanted;
  if (typeof actual !== 'object' || actual === null) return false;
  // Resources are the one thing users may override.
  return Object.entries(wanted).every(
    ([key, value]) =>
      key === 'resources' || contains((actual as Record<string, unknown>)[key], value, `${path}/${key}`),
  );
}

function isServiceAccountMount(mount: unknown): boolean {
  return (mount as { mountPath?: unknown } | null)?.mountPath === '/var/run/secrets/kubernetes.io/serviceaccount';
}

/** Fields that would change what the sidecar runs and that a rendering never has. */
const FOREIGN_FIELDS = ['command', 'envFrom', 'lifecycle', 'volumeDevices', 'workingDir'];

/** `foreign`: something of our name stands there that we would not have put. */
export function existingSidecar(pod: Pod, rendered: Container): 'none' | 'ours' | 'foreign' {
  const volumes = pod.spec?.volumes ?? [];
  const altered = sidecarVolumes().some((ours) =>
    volumes.some((each) => each.name === ours.name && !contains(each, ours, '')),
  );
  if (altered) return 'foreign';
  if ((pod.spec?.containers ?? []).some(({ name }) => name === SIDECAR_NAME)) return 'foreign';
  const found = (pod.spec?.initContainers ?? []).find(({ name }) => name === SIDECAR_NAME);
  if (found === undefined) return 'none';
  return isRendering(found, rendered) && FOREIGN_FIELDS.every((field) => found[field] === undefined)
    ? 'ours'
    : 'foreign';
}

/** Changes exactly when the injected sidecar would: drives "is this pod's sidecar outdated". */
export function renderingHash(sidecar: Container): string {
  return createHash('sha256').update(JSON.stringify(sidecar)).digest('hex').slice(0, 16);
}
