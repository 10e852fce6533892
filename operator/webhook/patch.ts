/** The JSON Patch of an injection: adds only, so that it commutes with other webhooks (a replaced array would undo theirs). */
import type { EnvironmentVariable } from '../trees/agent-environment.ts';
import { type Container, type PatchOperation, type Pod, pointer } from './pod-shape.ts';
import { SIDECAR_NAME, SOCKET_MOUNT, sidecarVolumes } from './sidecar-container.ts';

const ANNOTATION_STATUS = 'glmquota.io/status';
export const LABEL_INJECTED = 'glmquota.io/injected';

export interface Injection {
  /** Null: it is in the pod already. */
  readonly sidecar: Container | null;
  readonly environment: readonly EnvironmentVariable[];
  /** Names of the containers that get the environment; null: all. */
  readonly containers: ReadonlySet<string> | null;
  /** Under `Override`: further variables to neutralise besides those of `environment`; null: keep what the user set. */
  readonly replaceable: ReadonlySet<string> | null;
  readonly status: { readonly quota: string; readonly hash: string };
}

/** Service meshes' containers must start before ours, or its first calls would miss them. */
const MESH_CONTAINERS = new Set([
  'istio-init',
  'istio-validation',
  'istio-proxy',
  'linkerd-init',
  'linkerd-network-validator',
  'linkerd-proxy',
]);

function addToList(list: readonly unknown[] | undefined, path: string, values: readonly unknown[]): PatchOperation[] {
  if (values.length === 0) return [];
  if (list === undefined) return [{ op: 'add', path, value: values }];
  return values.map((value) => ({ op: 'add', path: `${path}/-`, value }));
}

function addToMap(
  map: Readonly<Record<string, string>> | undefined,
  path: string,
  entries: Record<string, string>,
): PatchOperation[] {
  const missing = Object.entries(entries).filter(([key, value]) => map?.[key] !== value);
  if (missing.length === 0) return [];
  if (map === undefined) return [{ op: 'add', path, value: Object.fromEntries(missing) }];
  return missing.map(([key, value]) => ({ op: 'add', path: path + pointer(key), value }));
}

function sidecarOperation(pod: Pod, sidecar: Container): PatchOperation {
  const existing = pod.spec?.initContainers;
  if (existing === undefined) return { op: 'add', path: '/spec/initContainers', value: [sidecar] };
  return { op: 'add', path: pointer('spec', 'initContainers', sidecarIndex(pod)), value: sidecar };
}

function environmentOperations(container: Container, path: string, injection: Injection): PatchOperation[] {
  const present = container.env ?? [];
  const ours = new Map(injection.environment.map((variable) => [variable.name, variable]));
  const replaced =
    injection.replaceable === null
      ? []
      : present.flatMap((variable, i): PatchOperation[] => {
          const wanted =
            ours.get(variable.name) ??
            (injection.replaceable?.has(variable.name) ? { name: variable.name, value: '' } : null);
          if (wanted === null || (variable.value === wanted.value && variable.valueFrom === undefined)) return [];
          return [{ op: 'replace', path: `${path}/env/${i}`, value: wanted }];
        });
  const missing = injection.environment.filter(({ name }) => !present.some((variable) => variable.name === name));
  return [...replaced, ...addToList(container.env, `${path}/env`, missing)];
}

function containerOperations(kind: 'containers' | 'initContainers', pod: Pod, injection: Injection): PatchOperation[] {
  const shift = kind === 'initContainers' && injection.sidecar !== null ? sidecarIndex(pod) : Number.POSITIVE_INFINITY;
  return (pod.spec?.[kind] ?? []).flatMap((container, i) => {
    if (container.name === SIDECAR_NAME || injection.containers?.has(container.name) === false) return [];
    if (kind === 'initContainers' && MESH_CONTAINERS.has(container.name)) return [];
    const path = pointer('spec', kind, i >= shift ? i + 1 : i);
    const mounted = (container.volumeMounts ?? []).some(({ mountPath }) => mountPath === SOCKET_MOUNT.mountPath);
    return [
      ...environmentOperations(container, path, injection),
      ...(mounted ? [] : addToList(container.volumeMounts, `${path}/volumeMounts`, [SOCKET_MOUNT])),
    ];
  });
}

function sidecarIndex(pod: Pod): number {
  return (pod.spec?.initContainers ?? []).findLastIndex(({ name }) => MESH_CONTAINERS.has(name)) + 1;
}

/** The operations that bring `pod` to the injected shape; none when it has it already. */
export function injectionPatch(pod: Pod, injection: Injection): readonly PatchOperation[] {
  const volumes = pod.spec?.volumes;
  const missing = sidecarVolumes().filter(({ name }) => !(volumes ?? []).some((volume) => volume.name === name));
  const touched = (pod.spec?.containers ?? []).filter(({ name }) => injection.containers?.has(name) !== false);
  const status = JSON.stringify({ ...injection.status, containers: touched.map(({ name }) => name) });
  return [
    ...(injection.sidecar === null ? [] : [sidecarOperation(pod, injection.sidecar)]),
    ...containerOperations('initContainers', pod, injection),
    ...containerOperations('containers', pod, injection),
    ...addToList(volumes, '/spec/volumes', missing),
    ...addToMap(pod.metadata?.labels, '/metadata/labels', { [LABEL_INJECTED]: 'true' }),
    ...addToMap(pod.metadata?.annotations, '/metadata/annotations', { [ANNOTATION_STATUS]: status }),
  ];
}
