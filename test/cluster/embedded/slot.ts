/** What one embedded cluster may call its own on this machine: a folder, addresses, a link, control groups. */
import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from '../command.ts';
import { claimFolder, removeStale, stateRoot } from '../residue.ts';

export interface Slot {
  readonly number: number;
  readonly name: string;
  readonly folder: string;
  /** The cluster's end of the link: node, API server and DNS. */
  readonly nodeAddress: string;
  /** The machine's end of the link: pods and API server reach the machine's processes there. */
  readonly hostAddress: string;
  readonly podRange: string;
  readonly serviceRange: string;
  readonly serviceAddress: string;
  /** The machine's end of the veth pair; the other one is `eth0` inside. */
  readonly link: string;
  /** Name of the control group under each hierarchy's root. */
  readonly cgroup: string;
}

const SLOTS = 32;

export const clustersFolder = (): string => join(stateRoot(), 'clusters');

/** The machine's routes, as `10.200.3.0`-like prefixes of three numbers; those of slots in use are among them. */
async function routedPrefixes(): Promise<Set<string>> {
  const routes = JSON.parse(await run('ip', ['-json', '-4', 'route', 'show'])) as { dst: string }[];
  return new Set(routes.map(({ dst }) => dst.split('.').slice(0, 3).join('.')));
}

function slotAt(number: number): Slot {
  const name = `glmquota-${number}`;
  return {
    number,
    name,
    folder: join(clustersFolder(), name),
    nodeAddress: `10.200.${number}.1`,
    hostAddress: `10.200.${number}.254`,
    podRange: `10.201.${number}.0/24`,
    serviceRange: `10.202.${number}.0/24`,
    serviceAddress: `10.202.${number}.1`,
    link: `glmquota${number}`,
    cgroup: name,
  };
}

/** The first slot nobody uses, claimed; its folder exists. Stale ones are removed before. */
export async function claimSlot(): Promise<Slot> {
  await removeStale(clustersFolder());
  await mkdir(clustersFolder(), { recursive: true });
  const routed = await routedPrefixes();
  for (let number = 0; number < SLOTS; number++) {
    const slot = slotAt(number);
    const ranges = [slot.nodeAddress, slot.podRange, slot.serviceRange];
    const isRouted = ranges.some((range) => routed.has(range.split('.').slice(0, 3).join('.')));
    if (!isRouted && !existsSync(`/sys/class/net/${slot.link}`) && (await claimFolder(slot.folder))) return slot;
  }
  throw new Error(`all ${SLOTS} cluster slots are in use; \`node test/cluster/remove.ts\` removes kept clusters`);
}
