/** The sidecar's program for all proofs of a run, bundled once as for the image. Vitest's `globalSetup`. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { TestProject } from 'vitest/node';
import { temporaryFolder } from '#test/bench/owned.ts';
import { bundle } from '#test/cluster/images/bundles.ts';

declare module 'vitest' {
  interface ProvidedContext {
    readonly sidecarProgram: string;
  }
}

/** Gives what removes it. */
export async function setup({ provide }: TestProject): Promise<() => Promise<void>> {
  const folder = await temporaryFolder('glmquota-proof-bundle-');
  const files = await bundle(resolve(import.meta.dirname, '../../..'), { sidecar: 'sidecar/main.ts' });
  for (const [name, text] of Object.entries(files)) {
    await mkdir(join(folder.path, name, '..'), { recursive: true });
    await writeFile(join(folder.path, name), text);
  }
  provide('sidecarProgram', join(folder.path, 'sidecar.mjs'));
  return async () => {
    await folder[Symbol.asyncDispose]();
  };
}
