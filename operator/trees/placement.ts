/**
 * Puts quotas into trees. A quota whose spec is good hangs where the spec says. One whose spec is bad stays where it
 * was with what it had (`previous`), together with the nodes above it even if their objects are gone: a node is never
 * unmetered because of a mistake. What was never good is in no tree.
 */
import type { NodeConfig, NodeName, TreeConfig, TreeKey } from '../../sidecar/engine/tree-terms.ts';
import { accountLedTo, cycleFault, findRings, type QuotaLink } from './links.ts';
import { inheritFrom, keepLimits } from './limits.ts';
import type { Moment } from './moment.ts';
import { ACCOUNT_NODE, quotaNode } from './names.ts';
import { compileNode, type NodeContext } from './node-config.ts';
import { belowRoot, type Root } from './roots.ts';
import { keptSettings, type Above } from './settings.ts';
import { compileStops } from './stops.ts';
import type { Fault } from './terms.ts';

/** Quotas above one another, besides the account: every call walks them all, inside Redis. */
const MAX_DEPTH = 15;
const TOO_DEEP = `deeper than ${MAX_DEPTH} quotas; choose a parent nearer to the account`;

/** One node in its place. */
export interface Placed {
  readonly config: NodeConfig;
  /** Null for a node whose object is gone. */
  readonly link: QuotaLink | null;
  /** What holds below this node. */
  readonly below: Above;
}

export interface Placement {
  /** Quota nodes per tree, parents before children, siblings by name. */
  readonly trees: ReadonlyMap<TreeKey, ReadonlyMap<NodeName, Placed>>;
  /** By quota id: why its spec is not in force. */
  readonly faults: ReadonlyMap<string, Fault>;
  /** By quota id: the tree its node is in. */
  readonly homes: ReadonlyMap<string, TreeKey>;
}

export interface PlacementInput {
  readonly roots: ReadonlyMap<string, Root>;
  readonly links: ReadonlyMap<string, QuotaLink>;
  readonly previous: ReadonlyMap<TreeKey, TreeConfig>;
  readonly moment: Moment;
  readonly operatorNamespace: string | null;
}

/** Places all quotas. Each round either finds further faults or is the last, so there are no more rounds than quotas. */
export function placeQuotas(input: PlacementInput): Placement {
  const faults = new Map<string, Fault>();
  for (const { id, fault } of input.links.values()) if (fault) faults.set(id, fault);
  const kept = indexPrevious(input);
  for (;;) {
    const before = faults.size;
    const homes = findHomes(input, faults, kept);
    const trees = new Map<TreeKey, ReadonlyMap<NodeName, Placed>>();
    for (const root of input.roots.values()) {
      if (root.nodes) trees.set(root.treeKey, new TreePlacement({ input, root, kept, homes, faults }).place());
    }
    if (faults.size === before) return { trees, faults, homes };
  }
}

/** Previous quota nodes per tree that still has an account. */
type Kept = ReadonlyMap<TreeKey, ReadonlyMap<NodeName, NodeConfig>>;

function indexPrevious(input: PlacementInput): Kept {
  const keys = [...input.roots.values()].filter(({ nodes }) => nodes !== null).map(({ treeKey }) => treeKey);
  return new Map(
    keys.toSorted().map((key) => {
      const nodes = input.previous.get(key)?.nodes ?? [];
      return [key, new Map(nodes.filter(({ name }) => name.startsWith('quota:')).map((node) => [node.name, node]))];
    }),
  );
}

/** In which tree each quota's node is; adds a fault where there is none to be in. */
function findHomes(input: PlacementInput, faults: Map<string, Fault>, kept: Kept): ReadonlyMap<string, TreeKey> {
  const homes = new Map<string, TreeKey | null>();
  const decide = (link: QuotaLink): TreeKey | null | undefined => {
    const { parent } = link;
    if (faults.has(link.id) || parent === null) return homeOfKept(link, input, kept);
    if (parent.kind === 'quota') {
      const home = homes.get(parent.id);
      if (home === null) faults.set(link.id, notInForce(`GLMQuota ${parent.id}`, faults.get(parent.id)));
      return home === null ? homeOfKept(link, input, kept) : home;
    }
    const root = input.roots.get(parent.id);
    if (root?.nodes) return root.treeKey;
    faults.set(link.id, notInForce(`GLMAccount ${parent.id}`, root?.fault));
    return homeOfKept(link, input, kept);
  };
  for (const start of input.links.values()) {
    // From the quota up to the first whose home is known, then back down: no recursion, however deep the chain.
    const chain: QuotaLink[] = [];
    let link: QuotaLink | undefined = start;
    while (link && !homes.has(link.id)) {
      chain.push(link);
      if (faults.has(link.id) || link.parent?.kind !== 'quota') break;
      link = input.links.get(link.parent.id);
    }
    for (const each of chain.toReversed()) homes.set(each.id, decide(each) ?? null);
  }
  return new Map([...homes].flatMap(([id, home]) => (home === null ? [] : [[id, home] as const])));
}

/**
 * The tree a bad quota stays in. It may have nodes in several, one of them only held for quotas that were left behind
 * below it when it moved: the one its spec leads to comes first.
 */
function homeOfKept(link: QuotaLink, input: PlacementInput, kept: Kept): TreeKey | null {
  const node = quotaNode(link);
  const led = treeLedTo(link, input);
  if (led !== null && kept.get(led)?.has(node)) return led;
  for (const [key, nodes] of kept) if (nodes.has(node)) return key;
  return null;
}

/** The tree of the account at the end of the parents that specs name, good or bad; null: there is no such end. */
function treeLedTo(start: QuotaLink, { links, roots }: PlacementInput): TreeKey | null {
  const id = accountLedTo(start, links);
  return id === null ? null : (roots.get(id)?.treeKey ?? null);
}

function notInForce(what: string, fault: Fault | null | undefined): Fault {
  const why = fault ? ` (${fault.reason}: ${fault.message})` : '';
  return { reason: 'ParentNotFound', message: `${what} is not in force${why}; mend it first` };
}

interface Spot {
  readonly node: NodeName;
  readonly parent: NodeName;
  readonly link: QuotaLink | null;
  /** Null: take the spec. */
  readonly kept: NodeConfig | null;
}

interface TreeContext {
  readonly input: PlacementInput;
  readonly root: Root;
  readonly kept: Kept;
  readonly homes: ReadonlyMap<string, TreeKey>;
  readonly faults: Map<string, Fault>;
}

/** One round over one tree; notes the faults it finds and leaves those nodes to the next round. */
class TreePlacement {
  readonly #context: TreeContext;
  readonly #spots = new Map<NodeName, Spot>();
  readonly #placed = new Map<NodeName, Placed>();

  constructor(context: TreeContext) {
    this.#context = context;
  }

  place(): ReadonlyMap<NodeName, Placed> {
    this.#collect();
    this.#descend();
    this.#faultRings();
    return this.#placed;
  }

  #collect(): void {
    const { input, homes, faults, root } = this.#context;
    for (const link of input.links.values()) {
      if (homes.get(link.id) !== root.treeKey) continue;
      const node = quotaNode(link);
      if (faults.has(link.id)) this.#keep(node, link);
      else this.#spots.set(node, { node, parent: parentNode(link), link, kept: null });
    }
    for (const spot of this.#spots.values()) if (spot.kept) this.#keepAbove(spot.parent);
  }

  #keep(node: NodeName, link: QuotaLink | null): Spot | null {
    const kept = this.#context.kept.get(this.#context.root.treeKey)?.get(node);
    if (!kept) return null;
    const spot = { node, parent: kept.parent ?? ACCOUNT_NODE, link, kept };
    this.#spots.set(node, spot);
    return spot;
  }

  /** Nodes above a kept one stay too, even if their objects are gone or have moved to another tree. */
  #keepAbove(from: NodeName): void {
    let node: NodeName | null = from;
    while (node !== null && node !== ACCOUNT_NODE && !this.#spots.has(node))
      node = this.#keep(node, null)?.parent ?? null;
  }

  #descend(): void {
    const children = Map.groupBy(this.#spots.values(), ({ parent }) => parent);
    const account = this.#context.root.nodes?.account;
    if (!account) return;
    let level = [{ node: ACCOUNT_NODE, below: belowRoot(this.#context.root, account, this.#context.input.moment) }];
    for (let depth = 1; level.length > 0; depth++) {
      const spots = level.flatMap(({ node, below }) =>
        (children.get(node) ?? []).map((spot) => ({ spot, above: below })),
      );
      spots.sort((a, b) => (a.spot.node < b.spot.node ? -1 : 1));
      level = spots.flatMap(({ spot, above }) => {
        const placed = this.#config(spot, above, depth);
        if (placed === null) return [];
        this.#placed.set(spot.node, placed);
        return [{ node: spot.node, below: placed.below }];
      });
    }
  }

  #config(spot: Spot, above: Above, depth: number): Placed | null {
    const { node, parent, link, kept } = spot;
    const spec = link?.quota?.spec;
    if (kept) return depth > MAX_DEPTH ? this.#faultMover(spot) : this.#stay(spot, kept, above);
    if (!link || !spec) return null;
    if (depth > MAX_DEPTH) return this.#fault(link, { reason: 'TooDeep', message: `it would be ${TOO_DEEP}` });
    const { namespace, name } = link;
    const compiled = compileNode(spec, { node, parent, namespace, name }, above, this.#nodeContext());
    if (!compiled.ok) return this.#fault(link, compiled.fault);
    const { config, settings } = compiled;
    return { config, link, below: { limits: inheritFrom(node, config.limits, above.limits), settings } };
  }

  #nodeContext(): NodeContext {
    const { input, root } = this.#context;
    return { moment: input.moment, vendor: root.vendor, operatorNamespace: input.operatorNamespace };
  }

  /** With what it had. A person's stop and schedules act all the same. */
  #stay({ node, parent, link }: Spot, kept: NodeConfig, above: Above): Placed {
    const { moment, vendor } = this.#nodeContext();
    const spec = link?.quota?.spec ?? null;
    const limits = keepLimits(kept.limits, above.limits, moment);
    const context = { moment, vendor: vendor?.schedule ?? null, previous: kept.stops };
    const stops = spec === null ? kept.stops : compileStops(spec, context);
    const settings = keptSettings(kept, spec, above.settings, moment);
    const config = { ...kept, parent, limits, stops };
    return { config, link, below: { limits: inheritFrom(node, limits, above.limits), settings } };
  }

  #fault(link: QuotaLink, fault: Fault): null {
    this.#context.faults.set(link.id, fault);
    return null;
  }

  /** What is kept was not too deep where it was: a good quota above it moved down and has to stay where it was. */
  #faultMover(spot: Spot): null {
    let above = this.#spots.get(spot.parent);
    while (above?.kept) above = this.#spots.get(above.parent);
    if (above?.link) {
      const message = `a quota under it would be ${TOO_DEEP}`;
      this.#fault(above.link, { reason: 'TooDeep', message });
    }
    return null;
  }

  /** A good spec may name a parent that is kept below it: a ring of new and old parents. The good one gives way. */
  #faultRings(): void {
    const lost = [...this.#spots.keys()].filter((node) => !this.#placed.has(node));
    const rings = findRings(lost, (node) => this.#spots.get(node)?.parent ?? null);
    for (const [node, ring] of rings) {
      const spot = this.#spots.get(node);
      if (spot?.link && !spot.kept) this.#context.faults.set(spot.link.id, cycleFault(ring));
    }
  }
}

function parentNode(link: QuotaLink): NodeName {
  const { parent } = link;
  return parent === null || parent.kind === 'account' ? ACCOUNT_NODE : `quota:${parent.id}`;
}
