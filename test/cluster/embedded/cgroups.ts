/** The control groups a cluster's pods live in. Version 1 was measured; version 2 (a fresh Debian 12) was not run here. */
import { existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const ROOT = '/sys/fs/cgroup';
const CONTROLLERS = ['cpuset', 'cpu', 'io', 'memory', 'hugetlb', 'pids'];

const isVersion2 = (): boolean => existsSync(join(ROOT, 'cgroup.controllers'));

/** The folders a cluster makes or has made for it by runc, whether they exist yet or not. */
export function cgroupFolders(name: string): string[] {
  if (isVersion2()) return [join(ROOT, name)];
  return readdirSync(ROOT)
    .filter((hierarchy) => lstatSync(join(ROOT, hierarchy)).isDirectory())
    .map((hierarchy) => join(ROOT, hierarchy, name));
}

function createVersion1(name: string): void {
  for (const folder of cgroupFolders(name).filter((each) => !each.startsWith(`${ROOT}/unified/`))) {
    mkdirSync(folder, { recursive: true });
    // A new cpuset is empty, and an empty one admits no process.
    for (const file of ['cpuset.mems', 'cpuset.cpus'])
      if (existsSync(join(folder, file))) writeFileSync(join(folder, file), readFileSync(join(folder, '..', file)));
  }
}

/** Controllers are enabled for the machine's root as well where they are not yet; that stays. */
function createVersion2(name: string): void {
  const folder = join(ROOT, name);
  mkdirSync(folder, { recursive: true });
  const words = (path: string): string[] => readFileSync(path, 'utf8').split(/\s+/);
  const available = words(join(ROOT, 'cgroup.controllers'));
  for (const control of [join(ROOT, 'cgroup.subtree_control'), join(folder, 'cgroup.subtree_control')]) {
    const enabled = words(control);
    for (const controller of CONTROLLERS.filter((each) => available.includes(each) && !enabled.includes(each)))
      writeFileSync(control, `+${controller}`);
  }
}

/** Makes the control groups the kubelet is told to use as its root. */
export function createCgroups(name: string): void {
  if (isVersion2()) createVersion2(name);
  else createVersion1(name);
}
