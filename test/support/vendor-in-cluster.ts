/** The simulator as the vendor of a cluster: HTTPS behind a Service, with a certificate of an authority made for it. */
import { createAuthority, signServerCertificate } from '#operator/certificates/x509.ts';
import type { Cluster } from '../cluster/cluster.ts';
import type { Image } from '../cluster/images/images.ts';
import { SimulatorControl } from './glm-simulator/control.ts';
import type { SimulatorConfig } from './glm-simulator/terms.ts';

export interface VendorInCluster {
  /** What accounts name as `data.origin`, and the chart must allow. */
  readonly origin: string;
  readonly caPem: string;
  readonly control: SimulatorControl;
}

const NAMESPACE = 'vendor';
const HOST = `glm-simulator.${NAMESPACE}.svc`;
const CONTROL_PORT = 9090;

async function manifests(
  image: string,
  config: SimulatorConfig,
  caPem: string,
  server: { certPem: string; keyPem: string },
): Promise<string> {
  const labels = { app: 'glm-simulator' };
  const args = ['--host', '0.0.0.0', '--port', '8443', '--control-port', String(CONTROL_PORT)];
  const files = ['--config', '/etc/sim/config.json', '--cert', '/etc/sim/tls.crt', '--key', '/etc/sim/tls.key'];
  const objects = [
    { apiVersion: 'v1', kind: 'Namespace', metadata: { name: NAMESPACE } },
    {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: 'glm-simulator', namespace: NAMESPACE },
      stringData: {
        'config.json': JSON.stringify(config),
        'tls.crt': server.certPem,
        'tls.key': server.keyPem,
        'ca.crt': caPem,
      },
    },
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'glm-simulator', namespace: NAMESPACE },
      spec: {
        selector: labels,
        ports: [
          { name: 'https', port: 443, targetPort: 8443 },
          { name: 'control', port: CONTROL_PORT },
        ],
      },
    },
    {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name: 'glm-simulator', namespace: NAMESPACE },
      spec: {
        selector: { matchLabels: labels },
        template: {
          metadata: { labels },
          spec: {
            terminationGracePeriodSeconds: 1,
            containers: [
              {
                name: 'simulator',
                image,
                imagePullPolicy: 'IfNotPresent',
                args: [...args, ...files],
                readinessProbe: { httpGet: { path: '/__sim/health', port: CONTROL_PORT }, periodSeconds: 1 },
                volumeMounts: [{ name: 'files', mountPath: '/etc/sim' }],
              },
            ],
            volumes: [{ name: 'files', secret: { secretName: 'glm-simulator' } }],
          },
        },
      },
    },
  ];
  return objects.map((object) => JSON.stringify(object)).join('\n---\n');
}

/** Starts the simulator in namespace `vendor` and waits until it serves. Its control API is reached by its cluster IP. */
export async function startVendor(cluster: Cluster, image: Image, config: SimulatorConfig): Promise<VendorInCluster> {
  const nowMs = Date.now();
  const authority = await createAuthority('vendor', { nowMs, days: 30 });
  const server = await signServerCertificate(
    authority,
    { commonName: 'vendor', dnsNames: [HOST] },
    { nowMs, days: 30 },
  );
  await cluster.kubectl(['apply', '-f', '-'], {
    stdin: await manifests(image.reference, config, authority.certPem, server),
  });
  await cluster.kubectl(['rollout', 'status', 'deployment/glm-simulator', '-n', NAMESPACE, '--timeout=120s']);
  const address = (
    await cluster.kubectl(['get', 'service', 'glm-simulator', '-n', NAMESPACE, '-o', 'jsonpath={.spec.clusterIP}'])
  ).trim();
  return {
    origin: `https://${HOST}`,
    caPem: authority.certPem,
    control: new SimulatorControl(`http://${address}:${CONTROL_PORT}`),
  };
}
