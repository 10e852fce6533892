/** What may be done to the parties. A plan is a list of these, made from the seed before the run begins. */
import type { NodeName } from '#sidecar/engine/tree-terms.ts';
import type { Direction, Weather } from './link.ts';
import type { Operator } from './operator.ts';
import type { Schedule } from './schedule.ts';
import type { Server } from './server.ts';
import type { Sidecar } from './sidecar.ts';
import type { Store } from './store.ts';
import type { Shape } from './tree.ts';
import type { Vendor } from './vendor.ts';
import type { Watch } from './watch.ts';

export interface World {
  readonly schedule: Schedule;
  readonly store: Store;
  readonly sidecars: readonly Sidecar[];
  readonly operator: Operator;
  readonly vendor: Vendor;
  readonly watch: Watch;
}

export interface Fault {
  readonly atMs: number;
  readonly lastsMs: number;
  /** What it is done to; one thing suffers one fault at a time. */
  readonly target: string;
  readonly what: string;
  begin(world: World): void;
  end(world: World): void;
}

interface When {
  readonly atMs: number;
  readonly lastsMs: number;
}

/** What is undone by what is done later. */
type Act = (world: World) => void;
const nothing: Act = () => undefined;

function fault(when: When, target: string, what: string, begin: Act, end: Act = nothing): Fault {
  return { ...when, target, what, begin, end };
}

const at = ({ sidecars }: World, index: number): Sidecar => sidecars[index]!;
const nameOf = (index: number): string => `pod-${index + 1}`;

/** Messages are lost, doubled, late and overtaken. */
export function noise(when: When, index: number, weather: Weather): Fault {
  const blocks = weather.drop >= 0.1;
  const percent = Object.entries(weather).map(([name, value]) => `${name} ${Number(value).toFixed(2)}`);
  return fault(
    when,
    `${nameOf(index)}'s link`,
    `messages: ${percent.join(', ')}`,
    (world) => {
      at(world, index).link.weather = weather;
      if (blocks) at(world, index).reach.block();
    },
    (world) => {
      at(world, index).link.calm();
      if (blocks) at(world, index).reach.unblock();
    },
  );
}

export function cut(when: When, index: number, directions: readonly Direction[]): Fault {
  return fault(
    when,
    `${nameOf(index)}'s link`,
    `cut off (${directions.join(' and ')})`,
    (world) => {
      for (const direction of directions) at(world, index).link.cut.add(direction);
      at(world, index).reach.block();
    },
    (world) => {
      for (const direction of directions) at(world, index).link.mend(direction);
      at(world, index).reach.unblock();
    },
  );
}

export function pause(when: When, index: number, how: 'stopped' | 'asleep'): Fault {
  return fault(
    when,
    nameOf(index),
    how,
    (world) => {
      at(world, index).party?.pause(how);
      at(world, index).reach.block();
    },
    (world) => {
      at(world, index).party?.resume();
      at(world, index).reach.unblock();
    },
  );
}

/** `reclaims`: the operator notices at once that the pod is gone for good. */
export function crash(when: When, index: number, reclaims: boolean): Fault {
  return fault(
    when,
    nameOf(index),
    `killed${reclaims ? ' and reclaimed' : ''}`,
    (world) => {
      at(world, index).crash();
      if (reclaims) world.operator.reclaim(nameOf(index));
    },
    (world) => at(world, index).boot(),
  );
}

export function step(when: When, index: number | 'redis', byMs: number): Fault {
  const target = index === 'redis' ? "redis' clock" : `${nameOf(index)}'s clock`;
  return fault(when, target, `set by ${byMs} ms`, (world) => {
    const party = index === 'redis' ? world.store.master.party : at(world, index).party;
    party?.step(byMs);
    if (index === 'redis') world.watch.stepped(byMs);
  });
}

export function stall(when: When): Fault {
  return fault(
    when,
    'redis',
    'stopped',
    ({ store }) => store.master.party.pause('stopped'),
    ({ store }) => store.master.party.resume(),
  );
}

export function restart(when: When, lostMs: number): Fault {
  return fault(
    when,
    'redis',
    lostMs === Infinity ? 'killed, and begins with nothing' : `killed, and forgets its last ${lostMs.toFixed(0)} ms`,
    ({ store }) => store.crash(lostMs),
    ({ store }) => store.rise(),
  );
}

export function flush(when: When): Fault {
  return fault(when, 'redis', 'loses everything', ({ store }) => store.flush());
}

/** Its slot of a cluster moves to another server: until it is there, nothing is carried out. */
export function move(when: When, isDeclared: boolean): Fault {
  return fault(
    when,
    'redis',
    `its slot moves${isDeclared ? ', as declared' : ''}`,
    ({ store }) => {
      if (isDeclared) store.declareMove(600_000);
      store.master.refuses = 'TRYAGAIN';
    },
    ({ store }) => store.move(),
  );
}

export function full(when: When): Fault {
  return fault(
    when,
    'redis',
    'out of memory',
    ({ store }) => void (store.master.isFull = true),
    ({ store }) => void (store.master.isFull = false),
  );
}

export interface FailOver {
  /** How far the replica is behind when the master goes, and for how long it has been so. */
  readonly lagMs: number;
  /** The master's connections are not even closed. */
  readonly silent: boolean;
}

/** The master is gone; at the end of the fault its replica takes over. */
export function failOver(when: When, { lagMs, silent }: FailOver): Fault {
  return fault(
    when,
    'redis',
    `master ${silent ? 'unplugged' : 'killed'}, replica ${lagMs.toFixed(0)} ms behind`,
    ({ schedule, store }) => {
      store.replicate(false);
      schedule.after(lagMs, () => store.fall(silent));
    },
    ({ store }) => void store.promote(),
  );
}

/** Milliseconds after which a master whose replica is silent takes no more writes (`min-replicas-max-lag`). */
const ALONE_MS = 5000;

/** The network splits: the old master keeps these sidecars for a while, the replica takes over for all others. */
export function split(when: When, behind: readonly number[], takesOverAfterMs: number): Fault {
  let old: Server | null = null;
  const isBehind = (index: number): boolean => behind.includes(index);
  return fault(
    when,
    'redis',
    `old master alone with ${behind.map(nameOf).join(', ')}`,
    (world) => {
      const { schedule, store, sidecars } = world;
      const before = store.master;
      store.replicate(false);
      for (const [index, { link }] of sidecars.entries()) if (!isBehind(index)) link.beyond.add(before);
      schedule.after(ALONE_MS, () => void (before.refuses = 'NOREPLICAS'));
      schedule.after(takesOverAfterMs, () => {
        old = store.promote();
        for (const index of behind) {
          at(world, index).link.beyond.add(store.master);
          at(world, index).reach.block();
        }
      });
    },
    (world) => {
      if (old !== null) world.store.demote(old);
      for (const { link } of world.sidecars) link.reunite();
      for (const index of behind) at(world, index).reach.unblock();
    },
  );
}

export function configure(when: When, what: string, change: (shape: Shape) => Shape): Fault {
  return fault(when, 'tree', what, ({ operator }) => operator.configure(change(operator.shape)));
}

/** Somebody closes a node for a while. */
export function freeze(when: When, node: NodeName): Fault {
  return fault(when, 'tree', `${node} is frozen`, ({ operator }) => operator.freeze(node, when.lastsMs));
}

export function operatorAway(when: When): Fault {
  return fault(
    when,
    'operator',
    'away',
    ({ operator }) => void (operator.isAway = true),
    ({ operator }) => void (operator.isAway = false),
  );
}

export function vendorChanges(when: When, concurrency: number | null, lagMs: number): Fault {
  return fault(when, 'vendor', `allows ${concurrency} in flight, counts ${lagMs} ms longer`, ({ vendor }) => {
    vendor.change({ concurrency, lagMs });
  });
}

/** One thing suffers one fault at a time: later ones wait. */
export function inTurn(faults: readonly Fault[]): readonly Fault[] {
  const freeMs = new Map<string, number>();
  return faults
    .toSorted((a, b) => a.atMs - b.atMs)
    .map((each) => {
      const atMs = Math.max(each.atMs, freeMs.get(each.target) ?? 0);
      freeMs.set(each.target, atMs + each.lastsMs + 1);
      return { ...each, atMs };
    })
    .toSorted((a, b) => a.atMs - b.atMs);
}
