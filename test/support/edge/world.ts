/** A world of real objects, compiled by the real compiler, that a test may change; and a Redis that holds what it is told. */
import type { CacheView, TreeRevisions, TreeState, WorldView } from '#operator/edge/terms.ts';
import { compileTrees } from '#operator/trees/compile.ts';
import type { Credential } from '#operator/trees/credentials.ts';
import type { CompiledWorld, CompileInput, NamespaceLabels } from '#operator/trees/terms.ts';
import { AppError } from '#sidecar/base/errors.ts';
import type { TreeKey } from '#sidecar/engine/tree-terms.ts';
import { configHash } from '#sidecar/engine/tree.ts';
import { account, catalog, quota, world } from '#test/unit/trees/world.ts';

/** Account `glm/max`, open to all namespaces, with quota `glm/team-a` for consumers everywhere. */
function exampleInput(): CompileInput {
  return world({
    accounts: [
      account('max', { keyDelivery: { mode: 'Sidecar', namespaces: { from: 'All' } }, children: { from: 'Same' } }),
    ],
    quotas: [teamQuota()],
  });
}

export function teamQuota(spec: object = {}) {
  return quota('glm/team-a', { accountRef: { name: 'max' }, consumers: { from: 'All' }, ...spec });
}

export class TestWorld implements WorldView, CacheView {
  readonly catalogs = new Map([['default', catalog]]);
  isAllKnown = true;
  readonly forgotten: TreeKey[] = [];
  rotationInCache: string | null = null;
  credentialInCache: Credential | null = { apiKey: 'vendor-key', origin: null, caPem: null };
  #input: CompileInput;
  #current: CompiledWorld | null;
  readonly #listeners = new Set<() => void>();

  constructor(input: CompileInput = exampleInput()) {
    this.#input = input;
    this.#current = compileTrees(input);
  }

  get current(): CompiledWorld | null {
    return this.#current;
  }

  get treeKey(): TreeKey {
    return this.#current!.accounts.get('glm/max')!.treeKey;
  }

  /** What Redis says once it holds the tree as it is here. */
  stateOf(generation: number): TreeState {
    const { tree } = this.#current!.accounts.get('glm/max')!;
    return { revision: { leaseCreatedMs: 1, transitions: 1, generation }, configHash: configHash(tree!) };
  }

  change(parts: Partial<CompileInput>): void {
    this.#input = { ...this.#input, ...parts };
    this.#current = compileTrees(this.#input);
    for (const listener of this.#listeners) listener();
  }

  /** Back to before the caches had synced. */
  unsync(): void {
    this.#current = null;
  }

  subscribe(listener: () => void): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) };
  }

  forget(key: TreeKey): void {
    this.forgotten.push(key);
  }

  namespaces(): ReadonlyMap<string, NamespaceLabels> {
    return this.#input.namespaces;
  }

  rotation(): string | null {
    return this.rotationInCache;
  }

  credential(): Credential | null {
    return this.credentialInCache;
  }
}

export class TestRevisions implements TreeRevisions {
  readonly trees = new Map<TreeKey, TreeState>();
  down = false;

  async read(key: TreeKey): Promise<TreeState | null> {
    if (this.down) throw new AppError('unavailable', 'Redis is away');
    return this.trees.get(key) ?? null;
  }

  hashOf = configHash;
}
