/** `node holder.ts <snapshot>`: takes a lease, says so, and keeps it alive until it is killed. */
import { readFile } from 'node:fs/promises';
import type { SidecarSnapshot } from '#sidecar/control/terms.ts';
import { openPod } from './engine/pods.ts';

const [file = ''] = process.argv.slice(2);
const pod = await openPod(JSON.parse(await readFile(file, 'utf8')) as SidecarSnapshot, 'holder');
const lease = await pod.lease();
console.log(lease.id);
