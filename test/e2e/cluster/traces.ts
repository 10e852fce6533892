/** What a cluster can leave on the machine, as lines that can be compared. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { run } from '#test/cluster/command.ts';
import { isAlive } from '#test/cluster/process-identity.ts';
import { readResidue, stateRoot } from '#test/cluster/residue.ts';

/** Made by mount(8) when it runs on a machine for the first time, for good. */
const FOR_EVER = 'file /run/mount';

const SYSCTLS = [
  'vm/overcommit_memory',
  'vm/panic_on_oom',
  'kernel/panic',
  'kernel/panic_on_oops',
  'kernel/keys/root_maxkeys',
  'kernel/keys/root_maxbytes',
  'net/ipv4/ip_forward',
  'net/netfilter/nf_conntrack_max',
];

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

function link(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}

/** Processes in another mount namespace than ours; threads of the kernel have none that can be read. */
function processes(): string[] {
  const ours = link('/proc/self/ns/mnt');
  return readdirSync('/proc')
    .filter((pid) => /^\d+$/.test(pid) && link(`/proc/${pid}/exe`) !== '')
    .map((pid) => ({ pid, namespace: link(`/proc/${pid}/ns/mnt`), command: read(`/proc/${pid}/cmdline`) }))
    .filter(({ namespace, command }) => namespace !== ours || command.includes(stateRoot()))
    .map(({ pid, namespace, command }) => {
      // A container's process says only by its control group whose it is.
      const cluster = /\/(glmquota-\d+)\//.exec(read(`/proc/${pid}/cgroup`))?.[1] ?? 'no cluster';
      return `process ${pid} in ${namespace} of ${cluster}: ${command.replaceAll('\0', ' ')}`;
    });
}

/** What marks the lines of clusters and API servers that others run at the same time: those that still have a record. */
function marksOfOthers(): RegExp[] {
  const marks = ['clusters', 'api-servers'].flatMap((kind) => {
    const parent = join(stateRoot(), kind);
    return files(parent, 1).flatMap((line) => {
      const folder = line.replace(/^file /, '');
      const record = readResidue(folder);
      if (!record || (record.owner && !isAlive(record.owner))) return [];
      const number = /\d+$/.exec(folder)?.[0];
      const namespaces = record.processes.map(({ pid }) => link(`/proc/${pid}/ns/mnt`));
      const inside = namespaces.filter((each) => each !== '' && each !== link('/proc/self/ns/mnt'));
      const names = kind === 'clusters' ? [`glmquota-?${number}\\b`, `\\b10\\.20[012]\\.${number}\\.`] : [];
      return [`${folder}\\b`, ...names, ...inside.map((each) => RegExp.escape(each))].map((each) => new RegExp(each));
    });
  });
  // Their folders lie in folders that come and go with the first and the last of them.
  return marks.length > 0 ? [...marks, new RegExp(`^file ${stateRoot()}(/[a-z-]+)?$`)] : marks;
}

/** A cluster's groups lie at the top; groups of others have groups of their own below them, which come and go. */
const NAMED_BY_CLUSTERS = /glmquota|kube|containerd|runc|pod/;

function cgroups(): string[] {
  const root = '/sys/fs/cgroup';
  const tops = subfolders(root).flatMap((name) => [
    name,
    ...subfolders(`${root}/${name}`).map((sub) => `${name}/${sub}`),
  ]);
  const named = tops.filter((path) => NAMED_BY_CLUSTERS.test(path)).flatMap((path) => below(`${root}/${path}`));
  return [...tops.map((path) => `cgroup ${root}/${path}`), ...named];
}

function below(folder: string): string[] {
  return subfolders(folder).flatMap((name) => [`cgroup ${folder}/${name}`, ...below(`${folder}/${name}`)]);
}

/** None of a folder that somebody removed since it was listed. */
function subfolders(folder: string): string[] {
  try {
    return readdirSync(folder, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

function files(folder: string, depth: number): string[] {
  try {
    return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => [
      `file ${folder}/${entry.name}`,
      ...(entry.isDirectory() && depth > 1 ? files(`${folder}/${entry.name}`, depth - 1) : []),
    ]);
  } catch {
    return [];
  }
}

const lines = (kind: string, text: string): string[] =>
  text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => `${kind} ${line}`);

/**
 * Processes, mounts, links, addresses, routes, nft tables, network namespaces, control groups, sysctls and files of
 * this machine, but for what belongs to clusters and API servers that run.
 */
export async function tracesOfMachine(): Promise<Set<string>> {
  const [addresses, routes, namespaces, nft] = await Promise.all([
    run('ip', ['-brief', 'address']),
    run('ip', ['route', 'show', 'table', 'all']),
    run('ip', ['netns', 'list']),
    run('nft', ['list', 'tables']),
  ]);
  const others = marksOfOthers();
  const all = [
    ...processes(),
    ...lines('mount', read('/proc/self/mounts')),
    ...lines('address', addresses),
    ...lines('route', routes),
    ...lines('namespace', namespaces),
    ...lines('nft', nft),
    ...cgroups(),
    ...SYSCTLS.map((name) => `sysctl ${name} ${read(`/proc/sys/${name}`).trim()}`),
    ...['/run', '/var/lib', '/etc/cni', '/var/log']
      .flatMap((folder) => files(folder, 2))
      .filter((line) => line !== FOR_EVER),
    ...['clusters', 'api-servers'].flatMap((kind) => files(join(stateRoot(), kind), 2)),
    ...files('/tmp', 1).filter((file) => /kube|helm|containerd/.test(file)),
  ];
  return new Set(all.filter((line) => !others.some((mark) => mark.test(line))));
}

async function newTraces(before: ReadonlySet<string>): Promise<string[]> {
  return [...(await tracesOfMachine())].filter((line) => !before.has(line)).toSorted();
}

/**
 * Lines that are there now and were not `before`, after up to 20 s for the kernel, which takes namespaces down in the
 * background.
 */
export async function lastingTraces(before: ReadonlySet<string>): Promise<string[]> {
  const deadline = performance.now() + 20_000;
  let left = await newTraces(before);
  while (left.length > 0 && performance.now() < deadline) {
    await delay(100);
    left = await newTraces(before);
  }
  return left;
}
