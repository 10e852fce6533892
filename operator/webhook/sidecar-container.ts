/** What is added to a pod: the native sidecar, its token volume and the socket volume it shares with the agent. */
import type { Container, EnvVar, Volume, VolumeMount } from './pod-shape.ts';

export const SIDECAR_NAME = 'glmquota-sidecar';
const TOKEN_VOLUME = 'glmquota-token';
const SOCKET_VOLUME = 'glmquota-socket';
export const TOKEN_AUDIENCE = 'glmquota';
export const SOCKET_MOUNT: VolumeMount = { name: SOCKET_VOLUME, mountPath: '/var/run/glmquota' };

const TOKEN_DIRECTORY = '/var/run/secrets/glmquota';
const SIDECAR_UID = 15787;
const ADMIN_PORT = 15464;

export interface SidecarSettings {
  readonly image: string;
  readonly imagePullPolicy: 'Always' | 'IfNotPresent' | 'Never';
  /** `host:port` of the operator's ControlService. */
  readonly controlAddress: string;
  /** Certificates (PEM) the ControlService is trusted by. */
  readonly controlCaPem: string;
  readonly logLevel: string;
  readonly resources: {
    readonly requests: Readonly<Record<string, string>>;
    readonly limits: Readonly<Record<string, string>>;
  };
}

/** What differs from pod to pod. */
export interface SidecarBinding {
  /** `namespace/name` of the GLMQuota. */
  readonly quota: string;
  /** Calls in flight at once, as the pool's annotation says; null: no limit of its own. */
  readonly perAgentConcurrency: number | null;
}

function environment(settings: SidecarSettings, binding: SidecarBinding): readonly EnvVar[] {
  const field = (fieldPath: string): EnvVar['valueFrom'] => ({ fieldRef: { apiVersion: 'v1', fieldPath } });
  return [
    { name: 'GLMQUOTA_BINDING', value: binding.quota },
    ...(binding.perAgentConcurrency === null
      ? []
      : [{ name: 'GLMQUOTA_PER_AGENT_CONCURRENCY', value: String(binding.perAgentConcurrency) }]),
    { name: 'GLMQUOTA_CONTROL_ADDRESS', value: settings.controlAddress },
    { name: 'GLMQUOTA_CA', value: settings.controlCaPem },
    { name: 'GLMQUOTA_TOKEN_FILE', value: `${TOKEN_DIRECTORY}/token` },
    { name: 'GLMQUOTA_SOCKET', value: `${SOCKET_MOUNT.mountPath}/lease.sock` },
    { name: 'GLMQUOTA_LOG_LEVEL', value: settings.logLevel },
    { name: 'GLMQUOTA_POD_UID', valueFrom: field('metadata.uid') },
  ];
}

/** Restricted profile, no `preStop` (it would drain while the agent still works), readiness not tied to the operator. */
export function sidecarContainer(settings: SidecarSettings, binding: SidecarBinding): Container {
  const probe = (path: string): object => ({ httpGet: { path, port: ADMIN_PORT, scheme: 'HTTP' } });
  return {
    name: SIDECAR_NAME,
    image: settings.image,
    imagePullPolicy: settings.imagePullPolicy,
    args: ['sidecar'],
    restartPolicy: 'Always',
    env: environment(settings, binding),
    ports: [{ name: 'glmquota-admin', containerPort: ADMIN_PORT, protocol: 'TCP' }],
    resources: settings.resources,
    startupProbe: { ...probe('/startupz'), periodSeconds: 1, failureThreshold: 120 },
    readinessProbe: { ...probe('/readyz'), periodSeconds: 2 },
    livenessProbe: { ...probe('/healthz'), periodSeconds: 10, failureThreshold: 6 },
    securityContext: {
      allowPrivilegeEscalation: false,
      capabilities: { drop: ['ALL'] },
      readOnlyRootFilesystem: true,
      runAsNonRoot: true,
      runAsUser: SIDECAR_UID,
      runAsGroup: SIDECAR_UID,
      seccompProfile: { type: 'RuntimeDefault' },
    },
    terminationMessagePolicy: 'FallbackToLogsOnError',
    volumeMounts: [{ name: TOKEN_VOLUME, mountPath: TOKEN_DIRECTORY, readOnly: true }, SOCKET_MOUNT],
  };
}

export function sidecarVolumes(): readonly Volume[] {
  const token = { serviceAccountToken: { audience: TOKEN_AUDIENCE, expirationSeconds: 3600, path: 'token' } };
  return [
    { name: TOKEN_VOLUME, projected: { sources: [token] } },
    { name: SOCKET_VOLUME, emptyDir: { medium: 'Memory', sizeLimit: '1Mi' } },
  ];
}
