/** Hashes of compiled trees, computed once per tree: they are compared often and large trees take milliseconds. */
import type { AdminEngine } from '../../../sidecar/engine/port.ts';
import type { TreeConfig } from '../../../sidecar/engine/tree-terms.ts';

export class TreeHashes {
  readonly #engine: Pick<AdminEngine, 'hashOf'>;
  readonly #known = new WeakMap<TreeConfig, string>();

  constructor(engine: Pick<AdminEngine, 'hashOf'>) {
    this.#engine = engine;
  }

  /** What Redis says of the tree once it was configured. */
  of(tree: TreeConfig): string {
    const known = this.#known.get(tree);
    if (known !== undefined) return known;
    const hash = this.#engine.hashOf(tree);
    this.#known.set(tree, hash);
    return hash;
  }
}
