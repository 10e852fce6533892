/** One call on its way through a tree's admission. */
import type { SidecarSnapshot } from '../control/terms.ts';
import type { AcquireRequest, Grant, Verdict } from '../engine/terms.ts';
import type { Lease } from './lease-state.ts';
import type { Patience } from './patience.ts';

/** What is asked of the engine, without what the session knows better. */
export type Ask = Omit<AcquireRequest, 'owner' | 'epoch' | 'wait'>;

export interface TreeCall {
  /** Replaced when its id is used up. */
  ask: Ask;
  readonly patience: Patience;
  readonly binding: SidecarSnapshot['binding'];
  /** Monotonic: a grant cannot be older. */
  readonly askedAtMs: number;
  /** It has stood in the queue. */
  hasParked: boolean;
}

export type Held = { readonly kind: 'held'; readonly lease: Lease };
/** What Redis says once this process is registered with it. */
export type Heard = Exclude<Verdict, { readonly kind: 'epoch' }>;
/** The same with grants entered into the books. */
export type Told = Exclude<Heard, Grant> | Held;
/** What a caller is told in the end. */
export type Answer = Exclude<Told, { readonly kind: 'queued' }>;

/** A call whose ask goes out with the settlement of another one: one trip instead of two (rule Q9). */
export interface Successor {
  readonly call: TreeCall;
  /** Called synchronously. */
  answered(answer: Promise<Answer>): void;
}
