/** The provider that needs no Docker: the whole cluster inside one mount, network and process namespace. */
import { chmod, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { BINARY_NAMES, ensureBinaries } from '../binaries.ts';
import type { Log } from '../cache.ts';
import { clientTools } from '../client-tools.ts';
import type { Cluster } from '../cluster.ts';
import { ensureImage } from '../images/images.ts';
import { keepResidue, recordResidue } from '../residue.ts';
import { postWarden, type Warden } from '../warden.ts';
import { bootCluster, importImage, planeOf, writeClusterCredentials } from './boot.ts';
import { cgroupFolders, createCgroups } from './cgroups.ts';
import { createNamespace } from './namespace.ts';
import { writeNodeConfig } from './node-config.ts';
import { claimSlot, type Slot } from './slot.ts';

interface Settings {
  readonly log: Log;
  readonly signal: AbortSignal | undefined;
}

async function startInside(
  slot: Slot,
  settings: Settings,
): Promise<Omit<Cluster, 'keep' | typeof Symbol.asyncDispose>> {
  const { log, signal } = settings;
  const [binaries, pause] = await Promise.all([
    ensureBinaries(BINARY_NAMES, settings),
    ensureImage('pause', { log }),
    mkdir(planeOf(slot).folder),
  ]);
  recordResidue(slot.folder, { cgroups: cgroupFolders(slot.cgroup) });
  createCgroups(slot.cgroup);
  const [namespace, credentials] = await Promise.all([
    createNamespace(slot, binaries.pause, signal),
    writeClusterCredentials(slot),
    writeNodeConfig(slot, pause.reference),
  ]);
  await bootCluster({ slot, namespace, binaries, signal }, credentials, [pause.archive]);
  const kubeconfigPath = join(planeOf(slot).folder, 'admin.conf');
  return {
    name: slot.name,
    kubeconfigPath,
    apiServerUrl: credentials.url,
    hostAddress: slot.hostAddress,
    ...clientTools(binaries, slot.folder, kubeconfigPath),
    loadImage: (archive) => importImage(slot, archive, signal),
  };
}

async function keep(slot: Slot, warden: Warden): Promise<string> {
  keepResidue(slot.folder);
  await warden.release();
  return `node test/cluster/remove.ts ${slot.name}`;
}

/** Needs root. Several at a time do not meet: each has its own slot of addresses, link and control groups. */
export async function startEmbedded(settings: Settings): Promise<Cluster> {
  if (process.getuid?.() !== 0) throw new Error('the embedded cluster makes namespaces and mounts: it needs root');
  // Built before a slot is claimed: nothing of it has to be removed when a build fails.
  await ensureBinaries(BINARY_NAMES, settings);
  const slot = await claimSlot();
  const warden = await postWarden(slot.folder);
  const started = performance.now();
  try {
    await chmod(slot.folder, 0o711);
    const inside = await startInside(slot, settings);
    settings.log(`${slot.name} is up after ${((performance.now() - started) / 1000).toFixed(1)} s`);
    let isKept = false;
    return {
      ...inside,
      keep: async () => {
        isKept = true;
        return keep(slot, warden);
      },
      [Symbol.asyncDispose]: async () => {
        if (!isKept) await warden.dismiss();
      },
    };
  } catch (error) {
    await warden.dismiss();
    throw error;
  }
}
