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
  MAX_AMOUNT: Number.MAX_SAFE_INTEGER,
} as const;
