/** Numbers of the engine's contract. `library.ts` writes them into the Lua, the model uses them as they are. */
export const ENGINE_CONSTANTS = {
  /** Lifetime of a lease without a sign of life. */
  TTL_MS: 15_000,
  /**
   * One and a half intervals between two beats, which are a third of the lifetime and up to a tenth more: an owner is
   * silent, and a server stood still, only after this; after a gap, every owner has beaten within it.
   */
  SILENT_MS: 7_500,
  /** How long after its latest possible end an anchored window is kept charged (g in the rules). */
  GUARD_MS: 2_000,
  /** An expired lease is remembered for its longest run and this long (rule T4); finished ids as well. */
  LATE_MS: 600_000,
  /** A clock that goes back further than this has been set by somebody (rule T1). */
  STEP_MS: 5_000,
  /** Buckets of a sliding window: it frees room at most 1/60 of its duration late. */
  RING_BUCKETS: 60,
  /** Leases that one call expires at most. */
  REAP_BUDGET: 16,
  /** Forgotten ids that one call removes at most. */
  PRUNE_BUDGET: 32,
  /** Between two beats of an owner, give or take a tenth: a third of the lifetime. */
  BEAT_MS: 5000,
  /**
   * Life of a dispatched grant until it is claimed or beaten for: the longest gap that is not noticed (SILENT_MS), and from
   * there the longest pause between two beats. With less, a clock set forward by six seconds took slots of calls that ran.
   */
  CLAIM_TTL_MS: 13_000,
  /** A waiter leaves when nobody asked for it this long: three beats and a tenth. */
  WAITER_TTL_MS: 16_500,
  /** How long a denial of a waiter is kept for an owner that did not hear of it. */
  NOTICE_MS: 30_000,
  /** How long the place of a cancelled waiter is kept. */
  PLACE_MS: 30_000,
  /** Waiters that one call looks at most. */
  DISPATCH_BUDGET: 32,
  /** Waiters that one call lets go because they are late or silent at most. */
  WAITER_REAP_BUDGET: 16,
  /** Places, turns, and denials nobody heard of that one call forgets because their time is over at most. */
  KEPT_REAP_BUDGET: 256,
  /** What a grant costs a flow of weight 1; divisible by all small weights. */
  TAG_SCALE: 5_040_000,
  MAX_WEIGHT: 100_000,
  /** How often the first at a window is passed before the window is kept free for it. */
  GUARD_BYPASS: 8,
  /** What a tree's ledger may take; older entries go first. */
  LEDGER_BYTES: 64 * 1024 * 1024,
  /** The ledger holds the whole state of a tree once in every such stretch of the server's clock in which it is called. */
  CHECKPOINT_MS: 3_600_000,
  MAX_AMOUNT: Number.MAX_SAFE_INTEGER,
} as const;
