/** Files → objects, each parsed as the operator parses it. */
import { parseAllDocuments } from 'yaml';
import { parseAgentPool } from '../api/v1alpha1/agentpool.ts';
import { parseGlmAccount, type GlmAccount } from '../api/v1alpha1/glmaccount.ts';
import { parseGlmCatalog, type GlmCatalog } from '../api/v1alpha1/glmcatalog.ts';
import { parseGlmQuota, type GlmQuota } from '../api/v1alpha1/glmquota.ts';
import type { Parsed } from '../api/v1alpha1/parse.ts';
import type { NamespaceLabels } from '../trees/terms.ts';
import { objectId } from '../trees/names.ts';

export interface LocalFile {
  readonly name: string;
  readonly text: string;
}

export interface LocalObjects {
  readonly accounts: readonly GlmAccount[];
  readonly quotas: readonly GlmQuota[];
  readonly catalogs: readonly GlmCatalog[];
  /** By `namespace/name`, as they stand in the file. */
  readonly secrets: ReadonlyMap<string, unknown>;
  readonly namespaces: ReadonlyMap<string, NamespaceLabels>;
  /** `file: Kind name` of objects that mean nothing here. */
  readonly ignored: readonly string[];
  /** `file: Kind name: path: what is wrong`. */
  readonly problems: readonly string[];
}

const DEFAULT_NAMESPACE = 'default';

interface RawObject {
  readonly apiVersion?: unknown;
  readonly kind?: unknown;
  readonly metadata?: { readonly name?: unknown; readonly namespace?: unknown; readonly labels?: unknown };
}

/** Reads all documents; nothing is thrown for what they say. A missing namespace is `default`, as for kubectl. */
export function readDocuments(files: readonly LocalFile[]): LocalObjects {
  const reader = new Reader();
  for (const { name, text } of files) {
    for (const document of parseAllDocuments(text)) {
      for (const error of document.errors) reader.problems.push(`${name}: ${error.message.split('\n')[0] ?? ''}`);
      if (document.errors.length === 0) reader.add(name, document.toJS() as unknown);
    }
  }
  return reader;
}

class Reader implements LocalObjects {
  readonly accounts: GlmAccount[] = [];
  readonly quotas: GlmQuota[] = [];
  readonly catalogs: GlmCatalog[] = [];
  readonly secrets = new Map<string, unknown>();
  readonly namespaces = new Map<string, NamespaceLabels>();
  readonly ignored: string[] = [];
  readonly problems: string[] = [];
  readonly #seen = new Set<string>();

  add(file: string, input: unknown): void {
    if (input === null || input === undefined) return;
    if (typeof input !== 'object' || Array.isArray(input)) {
      this.problems.push(`${file}: a document is no object with kind and metadata`);
      return;
    }
    const { kind, id, object } = place(input);
    const where = `${file}: ${kind} ${id}`;
    if (this.#seen.has(`${kind} ${id}`)) this.problems.push(`${where}: is there twice`);
    this.#seen.add(`${kind} ${id}`);
    this.#read({ kind, id, where, object });
  }

  #read({ kind, id, where, object }: PlacedObject & { readonly where: string }): void {
    switch (kind) {
      case 'GLMAccount':
        return this.#keep(where, parseGlmAccount(object), this.accounts);
      case 'GLMQuota':
        return this.#keep(where, parseGlmQuota(object), this.quotas);
      case 'GLMCatalog':
        return this.#keep(where, parseGlmCatalog(object), this.catalogs);
      case 'AgentPool':
        this.ignored.push(where);
        return this.#keep(where, parseAgentPool(object), []);
      case 'Secret':
        this.secrets.set(id, object);
        return;
      case 'Namespace':
        this.namespaces.set(id, labelsOf(object));
        return;
      default:
        if (isOurs(object)) this.problems.push(`${where}: ${kind} is no kind of glmquota.io; known are ${OUR_KINDS}`);
        else this.ignored.push(where);
    }
  }

  #keep<T>(where: string, parsed: Parsed<T>, kept: T[]): void {
    if (parsed.ok) kept.push(parsed.value);
    else for (const { path, message } of parsed.problems) this.problems.push(`${where}: ${path}: ${message}`);
  }
}

interface PlacedObject {
  readonly kind: string;
  /** `namespace/name`, or the name of what has no namespace. */
  readonly id: string;
  /** With its namespace filled in. */
  readonly object: RawObject;
}

const OUR_KINDS = 'GLMAccount, GLMQuota, GLMCatalog, AgentPool';

function isOurs(object: RawObject): boolean {
  return typeof object.apiVersion === 'string' && object.apiVersion.startsWith('glmquota.io/');
}

const CLUSTER_SCOPED = ['GLMCatalog', 'Namespace'];

function place(object: RawObject): PlacedObject {
  const kind = word(object.kind) ?? 'object';
  const name = word(object.metadata?.name) ?? '';
  if (CLUSTER_SCOPED.includes(kind)) return { kind, id: name, object };
  const namespace = word(object.metadata?.namespace) ?? DEFAULT_NAMESPACE;
  // Redis wants to know whose tree it is; a file has no uid.
  const metadata = { uid: 'local', ...object.metadata, namespace };
  return { kind, id: objectId({ namespace, name }), object: { ...object, metadata } };
}

function word(value: unknown): string | null {
  return typeof value === 'string' && value !== '' ? value : null;
}

function labelsOf(object: RawObject): NamespaceLabels {
  const labels = object.metadata?.labels;
  if (typeof labels !== 'object' || labels === null) return {};
  return Object.fromEntries(
    Object.entries(labels).filter((pair): pair is [string, string] => typeof pair[1] === 'string'),
  );
}
