/**
 * Calls to the API server: typed by ResourceType, retried where the server said the call was not processed, bounded
 * in time, failing with AppError. Objects come back as they are; parsing them is the caller's.
 */
import { AppError } from '../../sidecar/base/errors.ts';
import { isExpired } from './api-errors.ts';
import {
  asKubeObject,
  asObjectList,
  collectionPath,
  type KubeIntent,
  type KubeObject,
  type ObjectKey,
  type ObjectList,
  objectPath,
  type ResourceType,
} from './resources.ts';
import { Transport, type TransportOptions } from './transport.ts';

const PAGE = 500;

export interface Scope {
  readonly namespace?: string;
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
}

export interface CallOptions {
  readonly signal?: AbortSignal;
}

export interface ApplyOptions extends CallOptions {
  /** One stable name per writer: fields it no longer sends are removed. */
  readonly fieldManager: string;
  readonly subresource?: string;
  /** Take over fields another writer owns. Only for fields that are ours alone. */
  readonly force?: boolean;
}

export type PatchBody =
  | { readonly kind: 'merge'; readonly patch: unknown }
  | { readonly kind: 'json'; readonly operations: readonly unknown[] };

export interface PatchOptions extends CallOptions {
  readonly subresource?: string;
  readonly fieldManager?: string;
}

export interface DeleteOptions extends CallOptions {
  /** Delete only the object of this identity; another one under the name fails with `conflict`. */
  readonly uid?: string;
  readonly resourceVersion?: string;
  readonly propagation?: 'Background' | 'Foreground' | 'Orphan';
}

export interface WatchOptions extends Scope {
  readonly resourceVersion: string;
  readonly timeoutSeconds: number;
}

export class KubeClient {
  readonly #transport: Transport;

  constructor(options: TransportOptions) {
    this.#transport = new Transport(options);
  }

  /** The object, or null when there is none. */
  async get(
    type: ResourceType,
    key: ObjectKey,
    options: CallOptions & { subresource?: string } = {},
  ): Promise<KubeObject | null> {
    try {
      const path = objectPath(type, key, options.subresource);
      return asKubeObject(await this.#transport.call({ method: 'GET', path, signal: options.signal }));
    } catch (reason) {
      if (reason instanceof AppError && reason.code === 'notFound') return null;
      throw reason;
    }
  }

  /** One page of at most `limit` objects (0: all at once). An expired token fails with what `isExpired` tells. */
  async listPage(
    type: ResourceType,
    scope: Scope & { limit?: number; continue?: string },
    options: CallOptions = {},
  ): Promise<ObjectList> {
    const query = {
      ...selectors(scope),
      limit: scope.limit === 0 ? undefined : String(scope.limit ?? PAGE),
      continue: scope.continue,
    };
    const path = collectionPath(type, scope.namespace);
    return asObjectList(type, await this.#transport.call({ method: 'GET', path, query, signal: options.signal }));
  }

  /** All pages, one after another; starts over in one piece when the token expires between two. */
  async list(type: ResourceType, scope: Scope = {}, options: CallOptions = {}): Promise<ObjectList> {
    const items: KubeObject[] = [];
    let page: ObjectList | undefined;
    do {
      try {
        page = await this.listPage(type, page?.continue ? { ...scope, continue: page.continue } : scope, options);
      } catch (reason) {
        if (!isExpired(reason)) throw reason;
        return this.listPage(type, { ...scope, limit: 0 }, options);
      }
      items.push(...page.items);
    } while (page.continue !== undefined);
    return { resourceVersion: page.resourceVersion, items };
  }

  /** Fails with `conflict` (see `isAlreadyExists`) when the object is there already. */
  async create(type: ResourceType, object: KubeIntent, options: CallOptions = {}): Promise<KubeObject> {
    const path = collectionPath(type, object.metadata.namespace);
    return asKubeObject(
      await this.#transport.call({ method: 'POST', path, query: STRICT, body: object, signal: options.signal }),
    );
  }

  /** Writes the whole object; its resourceVersion makes it a compare-and-set that fails with `conflict`. */
  async replace(type: ResourceType, object: KubeIntent, options: CallOptions = {}): Promise<KubeObject> {
    const path = objectPath(type, keyOfIntent(object));
    return asKubeObject(
      await this.#transport.call({ method: 'PUT', path, query: STRICT, body: object, signal: options.signal }),
    );
  }

  /** Server-side apply of the complete intent; a resourceVersion in it makes it a compare-and-set. */
  async apply(type: ResourceType, object: KubeIntent, options: ApplyOptions): Promise<KubeObject> {
    const query = {
      ...STRICT,
      fieldManager: options.fieldManager,
      force: options.force === undefined ? undefined : String(options.force),
    };
    const path = objectPath(type, keyOfIntent(object), options.subresource);
    const contentType = 'application/apply-patch+yaml';
    return asKubeObject(
      await this.#transport.call({ method: 'PATCH', path, query, contentType, body: object, signal: options.signal }),
    );
  }

  /** JSON or merge patch. */
  async patch(type: ResourceType, key: ObjectKey, body: PatchBody, options: PatchOptions = {}): Promise<KubeObject> {
    const path = objectPath(type, key, options.subresource);
    const query = { ...STRICT, fieldManager: options.fieldManager };
    const call =
      body.kind === 'merge'
        ? { contentType: 'application/merge-patch+json', body: body.patch }
        : { contentType: 'application/json-patch+json', body: body.operations };
    return asKubeObject(await this.#transport.call({ method: 'PATCH', path, query, ...call, signal: options.signal }));
  }

  /** False when there was nothing to delete; `conflict` when the preconditions do not hold. */
  async delete(type: ResourceType, key: ObjectKey, options: DeleteOptions = {}): Promise<boolean> {
    const { uid, resourceVersion } = options;
    const preconditions = {
      ...(uid === undefined ? {} : { uid }),
      ...(resourceVersion === undefined ? {} : { resourceVersion }),
    };
    const body = {
      apiVersion: 'v1',
      kind: 'DeleteOptions',
      propagationPolicy: options.propagation ?? 'Background',
      ...(Object.keys(preconditions).length === 0 ? {} : { preconditions }),
    };
    try {
      await this.#transport.call({ method: 'DELETE', path: objectPath(type, key), body, signal: options.signal });
      return true;
    } catch (reason) {
      if (reason instanceof AppError && reason.code === 'notFound') return false;
      throw reason;
    }
  }

  /**
   * The events of a watch, parsed but not checked; ends when the server ends it. Fails with `unavailable` on a broken
   * stream and with what `isExpired` tells when the resource version is too old.
   */
  watch(type: ResourceType, options: WatchOptions, signal: AbortSignal): AsyncIterable<unknown> {
    const query = {
      ...selectors(options),
      watch: '1',
      allowWatchBookmarks: 'true',
      resourceVersion: options.resourceVersion,
      timeoutSeconds: String(options.timeoutSeconds),
    };
    return this.#transport.stream({ path: collectionPath(type, options.namespace), query }, signal);
  }
}

const STRICT = { fieldValidation: 'Strict' } as const;

function selectors(scope: Scope): Record<string, string | undefined> {
  return { labelSelector: scope.labelSelector, fieldSelector: scope.fieldSelector };
}

function keyOfIntent(object: KubeIntent): ObjectKey {
  const { namespace, name } = object.metadata;
  if (name === undefined) throw new AppError('invalid', `a ${object.kind} without a name cannot be written`);
  return namespace === undefined ? { name } : { namespace, name };
}
