/** The words of the catalog: the vendor's facts as data. Parsed from GLMCatalog objects; no vendor number stands in code. */

export type Currency = 'USD' | 'CNY';

/**
 * The name under which prices and coefficients of unlisted models stand, as in the tree's `model:other` node.
 * A catalog without such a row counts unlisted models at zero.
 */
export const OTHER_MODEL = 'other';

/**
 * No call reports more tokens than this in one field. With the bounds of the GLMCatalog schema every amount of a call
 * then stays below 2^53; whoever reads token counts from outside cuts them here.
 */
export const MAX_CALL_TOKENS = 100_000_000;

export interface CatalogModel {
  readonly name: string;
  /** Other request names that are routed to this model, matched exactly. */
  readonly aliases: readonly string[];
  /** Suffixes such as `[1m]` that are cut off a request name before it is looked up. */
  readonly suffixes: readonly string[];
  /**
   * Request names that the vendor serves with this model on plans only. The operator resolves them by the account's
   * billing; catalogs that sidecars get have none.
   */
  readonly planAliases?: readonly string[];
}

/** Price per 10^6 tokens in nano-currency; the first tier whose `upToInputTokens` covers the prompt counts (null: no bound). */
export interface PriceTier {
  readonly upToInputTokens: number | null;
  readonly inputNano: number;
  readonly cachedNano: number;
  readonly outputNano: number;
}

export interface CatalogPrice {
  readonly model: string;
  readonly currency: Currency;
  readonly tiers: readonly PriceTier[];
}

/** Credit coefficients in micro-credits per 10^4 tokens, at peak. */
export interface CreditCoefficients {
  readonly model: string;
  readonly inputMicro: number;
  readonly cachedMicro: number;
  readonly outputMicro: number;
}

type PlanUnit = 'Prompts' | 'Credits';

export interface CatalogPlan {
  readonly name: string;
  readonly generation: string;
  readonly unit: PlanUnit;
  /** `five-hour`, `weekly`: amounts in prompts or micro-credits. */
  readonly limits: readonly { readonly name: string; readonly amount: number; readonly durationMs: number }[];
}

/** Factors are parts per million of the peak rate. */
export interface CatalogSchedule {
  readonly timeZone: string;
  /** 1 = Monday … 7 = Sunday; minutes from midnight in `timeZone`, end exclusive. */
  readonly peak: readonly {
    readonly weekdays: readonly number[];
    readonly fromMinute: number;
    readonly toMinute: number;
  }[];
  readonly peakFactorPpm: number;
  readonly offPeakFactorPpm: number;
  /** Override the clock while they last; empty `models` means all. Later entries win. */
  readonly promotions: readonly {
    readonly name: string;
    readonly fromMs: number;
    readonly untilMs: number;
    readonly models: readonly string[];
    readonly factorPpm: number;
  }[];
}

/** What a vendor error means for a call and its account. */
export type ErrorClass =
  | 'Concurrency' // 1302
  | 'Rate' // 1303
  | 'Overload' // 1305, 1312
  | 'Quota' // 1308, 1310: until a stated time
  | 'AccountStop' // 1313, auth, 1113
  | 'ClientError'
  | 'Retry'; // 5xx-like

export interface CatalogError {
  readonly code: string;
  readonly class: ErrorClass;
}

export interface Catalog {
  readonly models: readonly CatalogModel[];
  readonly prices: readonly CatalogPrice[];
  readonly credits: readonly CreditCoefficients[];
  readonly plans: readonly CatalogPlan[];
  readonly schedule: CatalogSchedule;
  readonly errors: readonly CatalogError[];
}
