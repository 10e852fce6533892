/** Pods as the API server shows them, with the sidecar the injector makes. */
import type { KubeObject } from '#operator/runtime/resources.ts';
import { type SidecarSettings, sidecarContainer } from '#operator/webhook/sidecar-container.ts';

export const IMAGE = 'registry.example.com/glmquota@sha256:0123';

const settings: SidecarSettings = {
  image: IMAGE,
  imagePullPolicy: 'IfNotPresent',
  controlAddress: 'edge.glm.svc:9443',
  controlCaPem: '',
  logLevel: 'info',
  resources: { requests: {}, limits: {} },
};

export interface PodParts {
  readonly name?: string;
  readonly uid?: string;
  readonly address?: string;
  readonly phase?: string;
  readonly image?: string;
  readonly quota?: string;
  readonly perAgentConcurrency?: number;
  /** Over everything else. */
  readonly spec?: object;
}

let versions = 0;

export function agentPod(parts: PodParts = {}): KubeObject {
  const name = parts.name ?? 'agent-1';
  const binding = { quota: parts.quota ?? 'glm/team-a', perAgentConcurrency: parts.perAgentConcurrency ?? null };
  const sidecar = sidecarContainer({ ...settings, image: parts.image ?? IMAGE }, binding);
  const address = parts.address ?? '127.0.0.1';
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { namespace: 'team-a', name, uid: parts.uid ?? `uid-${name}`, resourceVersion: String(++versions) },
    spec: { serviceAccountName: 'default', initContainers: [sidecar], containers: [{ name: 'agent' }], ...parts.spec },
    status: {
      phase: parts.phase ?? 'Running',
      ...(address === '' ? {} : { podIP: address, podIPs: [{ ip: address }] }),
    },
  };
}
