/** What every API object has, and where each kind lives. */
import { AppError } from '../../sidecar/base/errors.ts';

export interface OwnerReference {
  readonly apiVersion: string;
  readonly kind: string;
  readonly name: string;
  readonly uid: string;
  readonly controller?: boolean;
  readonly blockOwnerDeletion?: boolean;
}

export interface ObjectMeta {
  readonly name: string;
  readonly namespace?: string;
  readonly uid: string;
  readonly resourceVersion: string;
  readonly generation?: number;
  readonly creationTimestamp?: string;
  readonly deletionTimestamp?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly ownerReferences?: readonly OwnerReference[];
}

/** An object as the API server sent it: only the metadata is known to have its shape. */
export interface KubeObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: ObjectMeta;
  readonly [field: string]: unknown;
}

/** What is sent: the server fills in the rest of the metadata. */
export interface KubeIntent {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: Partial<ObjectMeta> & { readonly name?: string; readonly generateName?: string };
  readonly [field: string]: unknown;
}

export interface ResourceType {
  /** Empty for the core group. */
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  readonly kind: string;
  readonly namespaced: boolean;
}

export interface ObjectKey {
  readonly namespace?: string;
  readonly name: string;
}

/** `group/version`, or `v1` for the core group: the apiVersion field of an object. */
export function apiVersionOf(type: ResourceType): string {
  return type.group === '' ? type.version : `${type.group}/${type.version}`;
}

/** The collection's path; without a namespace that of all namespaces. */
export function collectionPath(type: ResourceType, namespace?: string): string {
  const root = type.group === '' ? `/api/${type.version}` : `/apis/${type.group}/${type.version}`;
  const scope = type.namespaced && namespace !== undefined ? `/namespaces/${encodeURIComponent(namespace)}` : '';
  return `${root}${scope}/${type.plural}`;
}

/** The object's path, or that of its subresource such as `status`. Fails with `invalid` when a namespace is missing. */
export function objectPath(type: ResourceType, key: ObjectKey, subresource?: string): string {
  if (type.namespaced && key.namespace === undefined) {
    throw new AppError('invalid', `a ${type.kind} lives in a namespace and none was given for ${key.name}`);
  }
  const path = `${collectionPath(type, key.namespace)}/${encodeURIComponent(key.name)}`;
  return subresource === undefined ? path : `${path}/${subresource}`;
}

/** `namespace/name`, or the name alone for cluster-scoped objects: the key of stores and queues. */
export function keyOf(object: { readonly metadata: ObjectKey }): string {
  return joinKey(object.metadata);
}

export function joinKey(key: ObjectKey): string {
  return key.namespace === undefined || key.namespace === '' ? key.name : `${key.namespace}/${key.name}`;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The value as an object of the API; undefined when it is none. */
export function readKubeObject(value: unknown): KubeObject | undefined {
  if (!isRecord(value) || !isRecord(value['metadata'])) return undefined;
  const { name, uid, resourceVersion } = value['metadata'];
  // TokenReview and its like are answered without an identity; whoever stores objects needs one.
  const sound = [name, uid, resourceVersion].every((field) => field === undefined || typeof field === 'string');
  return sound ? (value as unknown as KubeObject) : undefined;
}

/** The value as an object of the API. Fails with `internal`: a server that sends anything else is broken. */
export function asKubeObject(value: unknown): KubeObject {
  const object = readKubeObject(value);
  if (object === undefined) throw new AppError('internal', 'the API server sent something that is no object');
  return object;
}

export interface ObjectList {
  readonly resourceVersion: string;
  /** Token of the next page; absent on the last. */
  readonly continue?: string;
  readonly items: readonly KubeObject[];
}

/** The value as a list; its items get the list's apiVersion and kind, which the server leaves out. */
export function asObjectList(type: ResourceType, value: unknown): ObjectList {
  if (!isRecord(value) || !Array.isArray(value['items']) || !isRecord(value['metadata'])) {
    throw new AppError('internal', `the API server sent something that is no list of ${type.plural}`);
  }
  const { resourceVersion, continue: token } = value['metadata'];
  if (typeof resourceVersion !== 'string') throw new AppError('internal', `a list of ${type.plural} has no version`);
  const apiVersion = apiVersionOf(type);
  const items = value['items'].map((item: unknown) =>
    asKubeObject(isRecord(item) ? { apiVersion, kind: type.kind, ...item } : item),
  );
  return typeof token === 'string' && token !== ''
    ? { resourceVersion, continue: token, items }
    : { resourceVersion, items };
}
