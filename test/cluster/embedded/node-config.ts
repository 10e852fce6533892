/** Configuration files of what runs on the node. Each setting that differs from a default has a reason beside it. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { stringify } from 'yaml';
import type { Slot } from './slot.ts';

export const containerdSocket = (slot: Slot): string => join(slot.folder, 'containerd.sock');

function containerd(slot: Slot, pauseImage: string): string {
  const at = (name: string): string => JSON.stringify(join(slot.folder, name));
  const cri = 'plugins."io.containerd.grpc.v1.cri"';
  return `version = 2
root = ${at('containerd/root')}
state = ${at('containerd/state')}
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs", "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing"]
[grpc]
  address = ${at('containerd.sock')}
[ttrpc]
  address = ${at('containerd.sock.ttrpc')}
[plugins."io.containerd.internal.v1.opt"]
  path = ${at('containerd/opt')}
[${cri}]
  sandbox_image = "${pauseImage}"
  disable_apparmor = true
  # Without CAP_SYS_RESOURCE (a container, some CI) runc may not lower the score, and every sandbox fails.
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  tolerate_missing_hugetlb_controller = true
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  [${cri}.containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [${cri}.containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [${cri}.containerd.runtimes.runc.options]
        SystemdCgroup = false
        Root = ${at('runc')}
  [${cri}.cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = ${at('cni')}
`;
}

const cni = (slot: Slot): object => ({
  cniVersion: '1.0.0',
  name: 'pods',
  plugins: [
    {
      type: 'bridge',
      bridge: 'pods0',
      isGateway: true,
      isDefaultGateway: true,
      ipMasq: false,
      // A pod reaches itself through its own Service.
      hairpinMode: true,
      ipam: { type: 'host-local', dataDir: join(slot.folder, 'ipam'), ranges: [[{ subnet: slot.podRange }]] },
    },
    { type: 'portmap', capabilities: { portMappings: true } },
  ],
});

const kubelet = (slot: Slot): object => ({
  apiVersion: 'kubelet.config.k8s.io/v1beta1',
  kind: 'KubeletConfiguration',
  address: slot.nodeAddress,
  healthzBindAddress: '127.0.0.1',
  tlsCertFile: join(slot.folder, 'plane/kubelet-server.crt'),
  tlsPrivateKeyFile: join(slot.folder, 'plane/kubelet-server.key'),
  authentication: {
    anonymous: { enabled: false },
    webhook: { enabled: true },
    x509: { clientCAFile: join(slot.folder, 'plane/ca.crt') },
  },
  authorization: { mode: 'Webhook' },
  containerRuntimeEndpoint: `unix://${containerdSocket(slot)}`,
  cgroupDriver: 'cgroupfs',
  cgroupRoot: `/${slot.cgroup}`,
  failCgroupV1: false,
  failSwapOn: false,
  clusterDNS: [slot.nodeAddress],
  clusterDomain: 'cluster.local',
  resolvConf: '',
  podLogsDir: join(slot.folder, 'pod-logs'),
  makeIPTablesUtilChains: false,
  volumeStatsAggPeriod: '0s',
  // Images come from archives only: one that was collected could not be pulled again.
  imageMinimumGCAge: '24h',
  imageGCHighThresholdPercent: 100,
  imageGCLowThresholdPercent: 99,
  // A full disk of the machine is not the tests' business.
  evictionHard: Object.fromEntries(
    ['memory.available', 'nodefs.available', 'nodefs.inodesFree', 'imagefs.available', 'imagefs.inodesFree'].map(
      (each) => [each, '0%'],
    ),
  ),
  localStorageCapacityIsolation: true,
  serializeImagePulls: false,
  maxPods: 200,
  kubeAPIQPS: 500,
  kubeAPIBurst: 1000,
  enableControllerAttachDetach: false,
});

const kubeProxy = (slot: Slot): object => ({
  apiVersion: 'kubeproxy.config.k8s.io/v1alpha1',
  kind: 'KubeProxyConfiguration',
  bindAddress: slot.nodeAddress,
  healthzBindAddress: '127.0.0.1:10256',
  metricsBindAddress: '127.0.0.1:10249',
  hostnameOverride: slot.name,
  clientConnection: { kubeconfig: join(slot.folder, 'plane/kube-proxy.conf') },
  clusterCIDR: slot.podRange,
  mode: 'nftables',
  nftables: { syncPeriod: '30s', minSyncPeriod: '0s' },
  conntrack: { maxPerCore: 0, min: 0, tcpEstablishedTimeout: '0s', tcpCloseWaitTimeout: '0s' },
});

const scheduler = (slot: Slot): object => ({
  apiVersion: 'kubescheduler.config.k8s.io/v1',
  kind: 'KubeSchedulerConfiguration',
  clientConnection: { kubeconfig: join(slot.folder, 'plane/kube-scheduler.conf'), qps: 1000, burst: 2000 },
  leaderElection: { leaderElect: false },
});

/** Names outside the cluster do not exist: a test that reaches for the world fails at once. Two blocks, since in one `template` would swallow the cluster's names. */
const corefile = (slot: Slot): string => `cluster.local:53 in-addr.arpa:53 {
    bind ${slot.nodeAddress}
    errors
    ready 127.0.0.1:8181
    kubernetes cluster.local in-addr.arpa {
        kubeconfig ${join(slot.folder, 'plane/coredns.conf')}
        pods insecure
        ttl 1
    }
}
.:53 {
    bind ${slot.nodeAddress}
    template ANY ANY . {
        rcode NXDOMAIN
    }
}
`;

/** Writes all of them into the slot's folder under the names the command lines in `boot.ts` use. */
export async function writeNodeConfig(slot: Slot, pauseImage: string): Promise<void> {
  await mkdir(join(slot.folder, 'cni'));
  const files = {
    'containerd.toml': containerd(slot, pauseImage),
    'cni/10-pods.conflist': JSON.stringify(cni(slot)),
    'kubelet.yaml': stringify(kubelet(slot)),
    'kube-proxy.yaml': stringify(kubeProxy(slot)),
    'kube-scheduler.yaml': stringify(scheduler(slot)),
    Corefile: corefile(slot),
  };
  await Promise.all(Object.entries(files).map(([name, text]) => writeFile(join(slot.folder, name), text)));
}
