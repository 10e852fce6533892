/** The engine's calls as what arrives at a Redis (sidecar/engine/client.ts sends the same). */
import type { Model } from '#sidecar/engine/model.ts';
import type { BeatReply, BeatRequest, LeaseRef, RegisterRequest, SwapReply } from '#sidecar/engine/port.ts';
import type { AcquireRequest, Grant, Settlement, SettleReply, TreeSnapshot, Verdict } from '#sidecar/engine/terms.ts';
import type { Asked } from './store.ts';

/** An error reply of Redis. */
export class Refused extends Error {
  override readonly name = 'ReplyError';
}

interface Ticked {
  readonly serverNowMs: number;
  readonly nextTickMs: number | null;
}

const grantsOf = (verdict: Verdict): readonly Grant[] => (verdict.kind === 'granted' ? [verdict] : []);
const idsOf = (grants: readonly Grant[]): readonly string[] => grants.map(({ id }) => id);

function onTree<T>(model: Model, work: () => T): T {
  if (model.tree.config === null) throw new Refused('NOTREE this tree is not configured');
  return work();
}

export function acquire(request: AcquireRequest): Asked<Verdict> {
  const { id, leaf, model: name } = request;
  return {
    name: `acquire ${id} ${leaf} ${name}`,
    work: (model) => model.acquire(request),
    hears: (verdict) => idsOf(grantsOf(verdict)),
    grants: grantsOf,
  };
}

export function claim(lease: LeaseRef): Asked<boolean> {
  return {
    name: `claim ${lease.id}`,
    work: (model) => onTree(model, () => model.claim(lease)),
    hears: (isAlive) => (isAlive ? [lease.id] : []),
  };
}

export function settle(all: readonly Settlement[], epoch: number | null): Asked<readonly SettleReply[]> {
  return {
    name: `settle ${all.map(({ id, outcome }) => `${id} ${outcome}`).join(', ')}`,
    work: (model) => onTree(model, () => model.settle(all, epoch)),
  };
}

export function swap(settlement: Settlement, next: AcquireRequest, epoch: number | null): Asked<SwapReply> {
  return {
    name: `swap ${settlement.id} ${settlement.outcome} for ${next.id}`,
    work: (model) => onTree(model, () => model.swap(settlement, next, epoch)),
    hears: ({ verdict }) => idsOf(grantsOf(verdict)),
    grants: ({ verdict }) => grantsOf(verdict),
  };
}

export function cancel(id: string, keepPlace: boolean): Asked<void> {
  return {
    name: `cancel ${id}`,
    work: (model) => onTree(model, () => model.cancel(id, { keepPlace })),
    ends: id,
  };
}

export function tick(): Asked<Ticked> {
  return { name: 'tick', work: (model) => onTree(model, () => model.tick()) };
}

export function beat(request: BeatRequest): Asked<BeatReply> {
  const { leases, waiters } = request;
  return {
    name: `beat ${leases.length} + ${waiters.length}`,
    work: (model) => onTree(model, () => model.beat(request)),
    hears: (reply) => {
      if (reply.kind === 'epoch') return [];
      const granted = reply.notices.flatMap((notice) => (notice.kind === 'granted' ? [notice.id] : []));
      return [...leases.map(({ id }) => id).filter((id) => !reply.lost.includes(id)), ...granted];
    },
  };
}

export function register(request: RegisterRequest): Asked<{ readonly epoch: number }> {
  const ids = request.leases.map(({ lease }) => lease.id);
  return {
    name: `register ${ids.join(', ')} without ${request.disclaimed.join(', ')}`,
    work: (model) => onTree(model, () => model.register(request)),
    hears: () => ids,
  };
}

/** What an operator or a sidecar is shown. */
export function snapshotOf(model: Model): TreeSnapshot | null {
  const seen = model.snapshot();
  const { epoch, now } = model.clock;
  return seen && { ...seen, epoch, configHash: '', serverNowMs: now.wallMs };
}
