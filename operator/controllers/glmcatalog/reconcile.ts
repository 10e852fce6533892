/** Keeps the catalog `default` as shipped, and every catalog's status. */
import { isDeepStrictEqual } from 'node:util';
import { CONTENT_VERSION_ANNOTATION, DEFAULT_CATALOG, type GlmCatalog } from '../../api/v1alpha1/glmcatalog.ts';
import { API_VERSION } from '../../api/v1alpha1/resource.ts';
import type { KubeClient } from '../../runtime/client.ts';
import { DONE, type Outcome } from '../../runtime/controller.ts';
import type { Clock } from '../../../sidecar/base/clock.ts';
import type { Log } from '../../../sidecar/base/log.ts';
import type { StatusWriter, WriteDecision } from '../status/writer.ts';
import { GLM_CATALOGS, type Observed } from '../world/kinds.ts';
import { type CatalogStatus, isApplyDue, planCatalogStatus } from './plan.ts';
import type { ShippedCatalog } from './shipped.ts';

const FIELD_MANAGER = 'glmquota-catalog';
/** By then the watch has brought back what was written. */
const AFTER_APPLY_MS = 200;

export interface CatalogOptions {
  readonly client: Pick<KubeClient, 'apply'>;
  readonly catalogs: { get(key: string): Observed<GlmCatalog> | undefined };
  readonly shipped: ShippedCatalog;
  readonly writer: StatusWriter<CatalogStatus>;
  readonly clock: Clock;
  readonly log: Log;
}

export class CatalogReconciler {
  readonly #options: CatalogOptions;
  #writtenGeneration: number | null = null;

  constructor(options: CatalogOptions) {
    this.#options = options;
  }

  async reconcile(name: string, signal: AbortSignal): Promise<Outcome> {
    const { catalogs, shipped, writer, clock } = this.#options;
    const catalog = catalogs.get(name);
    if (name === DEFAULT_CATALOG && isApplyDue(catalog, shipped.contentVersion, this.#writtenGeneration)) {
      await this.#apply(signal);
      return { kind: 'again', afterMs: AFTER_APPLY_MS };
    }
    if (catalog === undefined) return DONE;
    const isBaseUsable = catalogs.get(DEFAULT_CATALOG)?.parsed.ok ?? false;
    const { status } = writer.current(catalog);
    return writer.write(catalog, planCatalogStatus({ catalog, isBaseUsable, status }, clock.nowMs()), signal);
  }

  async #apply(signal: AbortSignal): Promise<void> {
    const { client, shipped, log } = this.#options;
    const annotations = { [CONTENT_VERSION_ANNOTATION]: shipped.contentVersion };
    const metadata = { name: DEFAULT_CATALOG, annotations };
    const object = { apiVersion: API_VERSION, kind: GLM_CATALOGS.kind, metadata, spec: shipped.spec };
    const answer = await client.apply(GLM_CATALOGS, object, { fieldManager: FIELD_MANAGER, force: true, signal });
    this.#writtenGeneration = answer.metadata.generation ?? null;
    log.info('catalog.applied', { contentVersion: shipped.contentVersion });
  }
}

/** Catalogs change by people's hands only: every difference is worth a write. */
export function decideCatalogWrite(written: unknown, wanted: CatalogStatus): WriteDecision {
  return isDeepStrictEqual(written, wanted) ? { kind: 'none' } : { kind: 'now' };
}
