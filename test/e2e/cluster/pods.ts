/** Pods that run a line of JavaScript in the image `node`, under the restricted profile. */
import type { Image } from '#test/cluster/images/images.ts';

export interface PodOptions {
  readonly labels?: Record<string, string>;
  /** Merged into the pod's spec. */
  readonly spec?: object;
  /** Merged into the container. */
  readonly container?: object;
}

export function scriptContainer(image: Image, name: string, code: string, more: object = {}): object {
  return {
    name,
    image: image.reference,
    imagePullPolicy: 'Never',
    args: ['-e', code],
    securityContext: {
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
    },
    ...more,
  };
}

export function scriptPod(image: Image, name: string, code: string, options: PodOptions = {}): object {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, labels: options.labels ?? {} },
    spec: {
      terminationGracePeriodSeconds: 5,
      securityContext: { runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } },
      containers: [scriptContainer(image, 'main', code, options.container)],
      ...options.spec,
    },
  };
}

/** Answers every request with its own name, until SIGTERM. */
export const SERVER = `
  process.on('SIGTERM', () => process.exit(0));
  require('node:http').createServer((_, response) => response.end(require('node:os').hostname()))
    .listen(8080, () => console.log('listening'));`;
