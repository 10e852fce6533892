/** What a tree's ledger holds (rule L1), as `lua/ledger.lua` writes it and `read.ts` reads it. */
import type { Clocks } from '../model-clock.ts';
import type {
  BeatRequest,
  BeatReply,
  Calibration,
  CalibrationReply,
  Checkpoint,
  LeaseRef,
  PlannedMove,
  RegisterRequest,
  SwapReply,
} from '../port.ts';
import type { AcquireRequest, ConfigureReply, Settlement, SettleReply, Verdict } from '../terms.ts';
import type { NodeName, Revision, TreeConfig } from '../tree-terms.ts';

/** One operation of the engine: what it was asked and what it said. */
export type LedgerCall =
  | { readonly op: 'acquire'; readonly request: AcquireRequest; readonly reply: Verdict }
  | { readonly op: 'claim'; readonly lease: Pick<LeaseRef, 'id' | 'fence'>; readonly reply: boolean }
  | {
      readonly op: 'settle';
      /** The epoch the caller knew. */
      readonly epoch: number | null;
      readonly settlements: readonly Settlement[];
      readonly reply: readonly SettleReply[];
    }
  | {
      readonly op: 'swap';
      readonly epoch: number | null;
      readonly settlement: Settlement;
      readonly request: AcquireRequest;
      readonly reply: SwapReply;
    }
  | { readonly op: 'cancel'; readonly id: string; readonly keepPlace: boolean; readonly reply: boolean }
  | {
      readonly op: 'beat';
      /** Leases null: all that the owner has. */
      readonly request: Pick<BeatRequest, 'owner' | 'epoch' | 'waiters'> & {
        readonly leases: readonly Pick<LeaseRef, 'id' | 'fence'>[] | null;
      };
      readonly reply: BeatReply;
    }
  | { readonly op: 'register'; readonly request: RegisterRequest; readonly reply: { readonly epoch: number } }
  | { readonly op: 'tick'; readonly reply: { readonly serverNowMs: number; readonly nextTickMs: number | null } }
  | {
      readonly op: 'configure';
      readonly tree: TreeConfig;
      readonly revision: Revision;
      readonly hash: string;
      readonly lost: boolean;
      readonly remembered: Checkpoint['usage'];
      readonly learnt: Checkpoint['learnt'];
      readonly reply: ConfigureReply;
    }
  | {
      readonly op: 'reclaim';
      readonly owners: { readonly prefix: string; readonly except: string | null };
      readonly reply: { readonly leases: number; readonly waiters: number };
    }
  | { readonly op: 'drain'; readonly process: string; readonly draining: boolean }
  | { readonly op: 'declareMove'; readonly move: PlannedMove }
  | { readonly op: 'freeze'; readonly node: NodeName; readonly untilMs: number | null }
  | { readonly op: 'resetWindow'; readonly node: NodeName; readonly limit: string; readonly reply: boolean }
  | { readonly op: 'calibrate'; readonly reading: Calibration; readonly reply: CalibrationReply };

/** A cheap word on the state after a call: equal states have equal ones. */
export interface Fingerprint {
  readonly fence: number;
  /** Births and places in the queue so far. */
  readonly seq: number;
  readonly waiting: number;
  /** Live leases. */
  readonly leases: number;
}

export interface CallEntry {
  readonly kind: 'call';
  readonly epoch: number;
  /** The server's clock as it was read. */
  readonly wallUs: number;
  readonly call: LedgerCall;
  readonly after: Fingerprint;
  /** Not null: calls without an entry of their own came before; they moved the clocks to this and changed nothing else. */
  readonly before: Clocks | null;
}

export interface EpochEntry {
  readonly kind: 'epoch';
  readonly epoch: number;
  /** The last entry of the epochs before: others of theirs with a higher number were lost with a server. */
  readonly lastSeq: number;
  /** Of the server. */
  readonly identity: string;
  /** It knows nothing of a tree. */
  readonly isEmpty: boolean;
}

/** Calls of mode Reject that were denied within one second of the server's clock and changed nothing. */
export interface DenialsEntry {
  readonly kind: 'denials';
  readonly atMs: number;
  readonly denials: readonly Denials[];
}

export interface Denials {
  readonly node: NodeName;
  readonly reason: string;
  readonly limit: string;
  readonly count: number;
}

/** Entries that cannot be read: trimmed before a consumer group had read them, or never written because memory was full. */
export interface GapEntry {
  readonly kind: 'gap';
  readonly why: 'trimmed' | 'memory';
  readonly firstSeq: number;
  readonly lastSeq: number;
  /** The group that has not read them; null: nobody has. */
  readonly group: string | null;
}

/** A part of a checkpoint: records as they stand in Redis. */
export interface StateEntry {
  readonly kind: 'state';
  /** The checkpoint is whole. */
  readonly isLast: boolean;
  /** The key's suffix (keys.ts). */
  readonly key: string;
  /** Fields and values, or members and scores. */
  readonly items: readonly (readonly [Buffer, Buffer])[];
}

export type LedgerEntry = (CallEntry | EpochEntry | DenialsEntry | GapEntry | StateEntry) & {
  /** Of the stream. */
  readonly id: string;
  /** Without holes within a memory of Redis. */
  readonly seq: number;
};
