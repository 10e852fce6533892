/** One mount, network and process namespace around a whole cluster: when its first process is killed, all of it is gone. */
import { readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { run } from '../command.ts';
import { startDaemon } from '../daemon.ts';
import { identify } from '../process-identity.ts';
import { recordResidue } from '../residue.ts';
import { waitFor } from '../wait.ts';
import type { Slot } from './slot.ts';

/**
 * What the kubelet would set for the whole machine. Files with these values are mounted over the kernel's, inside the
 * namespace only: the kubelet finds what it wants and nothing has to be restored.
 */
const KERNEL_SETTINGS = {
  'vm/overcommit_memory': 1,
  'vm/panic_on_oom': 0,
  'kernel/panic': 10,
  'kernel/panic_on_oops': 1,
  'kernel/keys/root_maxkeys': 1_000_000,
  'kernel/keys/root_maxbytes': 25_000_000,
};

/** Runs inside. The programs' fixed paths (/run, /var/lib/cni, /var/lib/kubelet, /var/log) become the cluster's own. */
const MOUNTS = `set -eu
folder=$1; shift
lib=$folder/mounts/lib
mkdir -p "$folder/mounts/log" "$folder/mounts/sys" "$lib/cni" "$lib/kubelet" "$lib\${folder#/var/lib}"
mount --bind "$folder" "$lib\${folder#/var/lib}"
mount --rbind "$lib" /var/lib
mount --bind "$folder/mounts/log" /var/log
mount -t tmpfs -o mode=755 tmpfs /run
for setting; do
  [ -e "/proc/sys/\${setting%=*}" ] || continue
  file=$folder/mounts/sys/$(echo "\${setting%=*}" | tr / .)
  echo "\${setting#*=}" >"$file"
  mount --bind "$file" "/proc/sys/\${setting%=*}"
done
echo 1 >/proc/sys/net/ipv4/ip_forward
if [ -e /proc/sys/net/bridge/bridge-nf-call-iptables ]; then echo 1 >/proc/sys/net/bridge/bridge-nf-call-iptables; fi
`;

export interface Namespace {
  /** The command line that runs `command` inside. */
  enter(command: readonly string[]): string[];
}

/** A fresh Debian loads these on demand only in part; where they are built in or there is no modprobe, nothing is lost. */
async function loadKernelModules(): Promise<void> {
  await run('modprobe', ['--all', 'overlay', 'br_netfilter', 'veth', 'bridge', 'nf_tables']).catch(() => undefined);
}

async function firstChild(pid: number, program: string, signal: AbortSignal | undefined): Promise<number> {
  return waitFor(
    'the namespace',
    () => {
      const child = Number(readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim());
      // Until it runs the program it is still a copy of unshare that has its mounts to make.
      return child > 0 && readlinkSync(`/proc/${child}/exe`) === program ? child : undefined;
    },
    { intervalMs: 5, signal },
  );
}

/** Makes the namespaces and the link into them. `init` is the program that becomes the first process inside. */
export async function createNamespace(slot: Slot, init: string, signal?: AbortSignal): Promise<Namespace> {
  await loadKernelModules();
  const unshare = ['unshare', '--mount', '--net', '--pid', '--fork', '--kill-child=KILL', '--mount-proc', init];
  const daemon = await startDaemon('namespace', unshare, join(slot.folder, 'namespace.log'));
  recordResidue(slot.folder, { processes: [daemon.identity] });
  const pid = await firstChild(daemon.identity.pid, init, signal);
  recordResidue(slot.folder, { processes: [identify(pid)], links: [slot.link] });
  const prefix = ['nsenter', `--target=${pid}`, '--mount', '--net', '--pid', '--wd=/', '--'];
  const enter = (command: readonly string[]): string[] => [...prefix, ...command];
  const inside = async (...command: string[]): Promise<void> => {
    const [program = '', ...args] = enter(command);
    await run(program, args, { signal });
  };
  const settings = Object.entries(KERNEL_SETTINGS).map(([name, value]) => `${name}=${value}`);
  const ip = async (...args: string[]): Promise<string> => run('ip', args, { signal });
  await Promise.all([
    inside('sh', '-c', MOUNTS, 'mounts', slot.folder, ...settings),
    ip('link', 'add', slot.link, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', String(pid)),
  ]);
  await ip('address', 'add', `${slot.hostAddress}/24`, 'dev', slot.link);
  await ip('link', 'set', slot.link, 'up');
  const setup = [
    'ip link set lo up',
    `ip address add ${slot.nodeAddress}/24 dev eth0`,
    'ip link set eth0 up',
    `ip route add default via ${slot.hostAddress}`,
  ].join(' && ');
  await inside('sh', '-c', setup);
  for (const range of [slot.podRange, slot.serviceRange]) await ip('route', 'add', range, 'via', slot.nodeAddress);
  return { enter };
}
