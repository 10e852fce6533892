/** Processes of pods as this machine sees them: an embedded cluster's are its children. */
import { readdirSync, readFileSync } from 'node:fs';

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    // The process has ended since it was listed.
    return '';
  }
}

/** Process ids of the pod's containers (not of its sandbox), by the control groups the kubelet makes. */
export function processesOfPod(podUid: string): readonly number[] {
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry) && read(`/proc/${entry}/cgroup`).includes(`/pod${podUid}/`))
    .filter((entry) => !read(`/proc/${entry}/cmdline`).startsWith('/pause'))
    .map(Number);
}

/** The one process of a pod with one container. */
export function processOfPod(podUid: string): number {
  const [pid, ...others] = processesOfPod(podUid);
  if (pid === undefined || others.length > 0) throw new Error(`pod ${podUid} has not one process`);
  return pid;
}
