/** Storage for claims: a default StorageClass with a few volumes that are folders of the cluster. */
import { chmod, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { ApiClient } from '../api-client.ts';
import type { Slot } from './slot.ts';

const CLASS = 'standard';
const VOLUMES = 8;

/**
 * Creates the class `standard` and eight volumes of 10 Gi that any claim may bind. They lie on this machine's disk and
 * go with the cluster. A volume whose claim was deleted is not given to another.
 */
export async function createVolumes(api: ApiClient, slot: Slot): Promise<void> {
  await api.post('/apis/storage.k8s.io/v1/storageclasses', {
    apiVersion: 'storage.k8s.io/v1',
    kind: 'StorageClass',
    metadata: { name: CLASS, annotations: { 'storageclass.kubernetes.io/is-default-class': 'true' } },
    provisioner: 'kubernetes.io/no-provisioner',
  });
  const create = async (number: number): Promise<void> => {
    const path = join(slot.folder, 'volumes', String(number));
    await mkdir(path, { recursive: true });
    // The kubelet changes no owner of a hostPath, and pods run with users of their own.
    await chmod(path, 0o777);
    await api.post('/api/v1/persistentvolumes', {
      apiVersion: 'v1',
      kind: 'PersistentVolume',
      metadata: { name: `volume-${number}` },
      spec: {
        capacity: { storage: '10Gi' },
        accessModes: ['ReadWriteOnce'],
        persistentVolumeReclaimPolicy: 'Retain',
        storageClassName: CLASS,
        hostPath: { path, type: 'Directory' },
      },
    });
  };
  await Promise.all(Array.from({ length: VOLUMES }, (_, number) => create(number)));
}
