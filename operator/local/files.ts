/** Files that commands are given, and the one that ships with us. */
import { readFile } from 'node:fs/promises';
import { text as readAll } from 'node:stream/consumers';
import { parseGlmCatalog, type GlmCatalog } from '../api/v1alpha1/glmcatalog.ts';
import { readShippedCatalog } from '../controllers/glmcatalog/shipped.ts';
import { AppError } from '../../sidecar/base/errors.ts';
import type { LocalFile } from './documents.ts';

/** `-` is standard input. Fails with `invalid` when it cannot be read. */
export async function readLocalFile(name: string): Promise<LocalFile> {
  try {
    return name === '-'
      ? { name: 'standard input', text: await readAll(process.stdin) }
      : { name, text: await readFile(name, 'utf8') };
  } catch (cause) {
    throw new AppError('invalid', `${name}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
  }
}

export function shippedCatalog(): GlmCatalog {
  const { spec } = readShippedCatalog();
  const parsed = parseGlmCatalog({
    apiVersion: 'glmquota.io/v1alpha1',
    kind: 'GLMCatalog',
    metadata: { name: 'default' },
    spec,
  });
  if (!parsed.ok) throw new AppError('internal', 'the shipped catalog is wrong');
  return parsed.value;
}
