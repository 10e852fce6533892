/** A checkpoint of the ledger → the reference model as it stood then. Pure. */
import { AppError } from '../../base/errors.ts';
import { ENGINE_CONSTANTS } from '../constants.ts';
import type { StateEntry } from './terms.ts';
import { Model } from '../model.ts';
import type { WaitingRoom } from '../model-queue.ts';
import { calendarsOf } from '../model-revision.ts';
import type { ModelTree } from '../model-tree.ts';
import { unpack } from './msgpack.ts';
import {
  decodeBottleneck,
  decodeFlow,
  decodeLease,
  decodeMeta,
  decodeNode,
  decodeOwner,
  decodePlace,
  decodeSub,
  decodeTurn,
  decodeWaiter,
  type MetaRecord,
  type WaiterRecord,
} from './records.ts';
import { decodeVerdict } from '../replies.ts';
import { amountsBy, classAt, resumeNodes, type NamedLease } from './restore-nodes.ts';
import { type AcquireRequest } from '../terms.ts';
import { RESOURCES } from '../tree-terms.ts';
import { parseTree } from '../tree-text.ts';

const { BEAT_MS, SILENT_MS, TTL_MS } = ENGINE_CONSTANTS;

/** The parts of one checkpoint, by key. Fails with code `invalid` for parts that do not fit together. */
export function restoreModel(parts: readonly StateEntry[]): Model {
  const checkpoint = new Checkpoint(parts);
  const meta = decodeMeta(checkpoint.value('m', 'state3'));
  const model = new Model();
  resumeConfig(model.tree, checkpoint);
  resumeMeta(model.tree, meta, checkpoint);
  resumeLeases(model.tree, checkpoint);
  resumeRoom(model.tree.room, meta, checkpoint);
  return model;
}

class Checkpoint {
  readonly #keys = new Map<string, Map<string, Buffer>>();

  constructor(parts: readonly StateEntry[]) {
    for (const { key, items } of parts) {
      const known = this.#keys.get(key) ?? new Map<string, Buffer>();
      this.#keys.set(key, known);
      for (const [name, value] of items) known.set(name.toString(), value);
    }
  }

  all(key: string): readonly (readonly [string, Buffer])[] {
    return [...(this.#keys.get(key) ?? [])];
  }

  /** Those whose name begins so, without that. */
  named(key: string, prefix: string): readonly (readonly [string, Buffer])[] {
    return this.all(key).flatMap(([name, value]) =>
      name.startsWith(prefix) ? [[name.slice(prefix.length), value] as const] : [],
    );
  }

  scores(key: string): ReadonlyMap<string, number> {
    return new Map(this.all(key).map(([name, value]) => [name, Number(value.toString())]));
  }

  value(key: string, name: string): Buffer {
    const found = this.#keys.get(key)?.get(name);
    if (!found) throw new AppError('invalid', `a checkpoint lacks ${key} ${name}`);
    return found;
  }
}

function resumeConfig(tree: ModelTree, checkpoint: Checkpoint): void {
  const config = parseTree(checkpoint.value('c', 'j').toString());
  const head = unpack(checkpoint.value('c', 't'));
  const [, , , leaseCreatedMs = 0, transitions = 0, generation = 0, , pathGeneration = 0] = Array.isArray(head)
    ? head.map(Number)
    : [];
  tree.config = { tree: config, revision: { leaseCreatedMs, transitions, generation }, pathGeneration };
  tree.configs = new Map(config.nodes.map((node) => [node.name, node]));
  tree.calendars = calendarsOf(config);
}

function resumeMeta(tree: ModelTree, meta: MetaRecord, checkpoint: Checkpoint): void {
  const { clock } = tree;
  const clocks = { wallUs: meta.wall_us, logicalUs: meta.now_us, gapFromMs: meta.gap_from };
  clock.resumeAs(meta.identity, meta.mass_from, { ...clocks, noReapUntilMs: meta.no_reap_until });
  clock.setUs(meta.wall_us);
  clock.look();
  Object.assign(clock, { epoch: meta.epoch, fence: meta.fence, steps: meta.steps });
  const learnLeastMs = meta.learn_until === 0 ? 0 : meta.learn_until - TTL_MS - BEAT_MS + SILENT_MS;
  Object.assign(clock, { learnUntilMs: meta.learn_until, learnLeastMs, learnToEnd: meta.learn_all === 1 });
  tree.releaseHold.resume(meta.hold_ms, meta.held_at === 0 ? null : meta.held_at);
  tree.lastGrantWasSystem = meta.last_system === 1;
  for (const [process, bytes] of checkpoint.named('m', 'd:')) {
    const mark = bytes.toString();
    tree.draining.set(process, mark === '1' ? null : Number(mark));
  }
}

function resumeLeases(tree: ModelTree, checkpoint: Checkpoint): void {
  const named = checkpoint.all('l').map(([id, bytes]): NamedLease => ({ id, record: decodeLease(bytes) }));
  const nodes = checkpoint.all('n').map(([name, bytes]) => [name, decodeNode(bytes)] as const);
  const leases = resumeNodes(tree, nodes, named, checkpoint.scores('e'));
  const owners = checkpoint.all('o').map(([name, bytes]) => {
    const { seen: heardMs, epoch } = decodeOwner(bytes);
    return [name, { heardMs, epoch }] as const;
  });
  tree.leases.resume({ leases, owners, done: [...checkpoint.scores('d')] });
  const until = checkpoint.scores('z');
  for (const { id, record } of named.filter((each) => each.record.h === 1)) {
    const slot = { class: classAt(record.c), atVendor: false };
    const held = record.n.map(({ node }) => node);
    for (const node of held) tree.node(node).inFlight.add(slot);
    tree.leases.hold({ name: id, slot, nodes: held, untilMs: until.get(id) ?? 0 });
  }
}

function resumeRoom(room: WaitingRoom, meta: MetaRecord, checkpoint: Checkpoint): void {
  room.seq = meta.seq;
  room.time = meta.vtime;
  resumeKept(room, checkpoint);
  resumeFlows(room, checkpoint);
  for (const [x, bytes] of checkpoint.named('f', 'B:')) {
    const { v, first, bypass, ...at } = decodeBottleneck(bytes);
    const cursor = at.birth < 0 ? null : at;
    room.bottlenecks.set(x, { time: v, first: first < 0 ? null : first, bypassed: bypass, cursor });
  }
  for (const [x, atMs] of checkpoint.scores('t')) room.timers.set(x, atMs);
  if (meta.guarded === 1) {
    const [x = '', sub = ''] = checkpoint.value('m', 'guard').toString().split('\0');
    room.guard = { x, sub };
  }
}

function resumeFlows(room: WaitingRoom, checkpoint: Checkpoint): void {
  for (const [name, bytes] of checkpoint.named('f', 'F:')) {
    const { birth, tag, round, class: priority, leaf, locals } = decodeFlow(bytes);
    const about = { birth, leaf, class: classAt(priority), tag, round };
    room.flows.set(name, { ...about, turns: new Map(), local: new Map(locals) });
  }
  const until = checkpoint.scores('y');
  for (const [name, bytes] of checkpoint.named('w', 'T:')) {
    const [of = '', owner = ''] = name.split('\0');
    const [flow, { birth, round }] = [room.flows.get(of), decodeTurn(bytes)];
    if (flow?.birth === birth) flow.turns.set(owner, { round, untilMs: until.get(`T:${name}`) ?? 0 });
  }
  for (const [name, bytes] of checkpoint.named('f', 'S:')) {
    const { birth, flow: of, x } = decodeSub(bytes);
    const flow = room.flows.get(of);
    if (flow) room.subs.set(name, { name, birth, flow, x: x === '' ? null : x });
  }
}

/** Waiters, and what is kept of those who left. */
function resumeKept(room: WaitingRoom, checkpoint: Checkpoint): void {
  const until = checkpoint.scores('y');
  for (const [name, bytes] of checkpoint.all('w')) {
    const untilMs = until.get(name) ?? 0;
    if (name.startsWith('N:')) {
      const kept = unpack(bytes);
      const [owner, reply] = Array.isArray(kept) ? kept : [];
      const denial = decodeVerdict(reply, name.slice(2));
      if (denial.kind === 'denied' && typeof owner === 'string')
        room.notices.set(name.slice(2), { value: { owner, denial }, untilMs });
    } else if (name.startsWith('P:')) {
      room.places.set(name.slice(2), { value: decodePlace(bytes), untilMs });
    } else if (!name.startsWith('T:')) {
      const record = decodeWaiter(bytes);
      const { flow } = decodeSub(checkpoint.value('f', `S:${record.sub}`));
      resumeWaiter(room, record, flow, { id: name, endsMs: untilMs });
    }
  }
}

interface Named {
  readonly id: string;
  readonly endsMs: number;
}

function resumeWaiter(room: WaitingRoom, record: WaiterRecord, flow: string, { id, endsMs }: Named): void {
  const { round, seq, deadline: deadlineMs, since: sinceMs, sub } = record;
  const about = { class: classAt(record.class), flow, sub, round, seq, deadlineMs, endsMs, sinceMs };
  room.waiters.push({ ...about, request: requestOf(id, record) });
}

const MODES: Readonly<Record<string, AcquireRequest['wait']['mode']>> = { S: 'UntilSlot', W: 'UntilWindow' };

function requestOf(id: string, record: WaiterRecord): AcquireRequest {
  const { owner, leaf, model, key: flowKey, place, longest: maxRuntimeMs, amounts } = record;
  const { tool, capability, source, user, pool, namespace } = record;
  const attributes = Object.entries({ tool, capability, source, user, pool, namespace }).filter(
    ([, value]) => value !== '',
  );
  return {
    id,
    owner,
    leaf,
    model,
    flowKey,
    maxRuntimeMs,
    generation: 0,
    epoch: null,
    class: classAt(record.class),
    reserve: amountsBy((resource) => amounts[RESOURCES.indexOf(resource)] ?? null),
    attributes: Object.fromEntries(attributes),
    wait: { mode: MODES[record.mode] ?? 'Reject', maxWaitMs: 0 },
    place: place === '' ? null : place,
  };
}
