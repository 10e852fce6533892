/** GLMCatalog: the vendor's facts as data. Cluster-scoped; accounts name one by `catalogRef`. */
import {
  MAX_CALL_TOKENS,
  OTHER_MODEL,
  type CatalogError,
  type CatalogModel,
  type CatalogPlan,
  type CatalogPrice,
  type CatalogSchedule,
  type CreditCoefficients,
  type ErrorClass,
} from '../../../sidecar/catalog/terms.ts';
import {
  checked,
  integer,
  list,
  listMap,
  mapped,
  object,
  oneOf,
  optional,
  string,
  withDefault,
  type Parsed,
  type Parser,
  type Place,
} from './parse.ts';
import { parseResource, type Resource } from './resource.ts';
import { decimal, durationMs, instantMs, label, minuteOfDay, modelName, timeZone } from './scalars.ts';

/** The catalog that the operator ships and updates. */
export const DEFAULT_CATALOG = 'default';
/** What the default catalog's content says of its age; echoed in `status.contentVersion`. */
export const CONTENT_VERSION_ANNOTATION = 'glmquota.io/content-version';

export type ModelSpec = Required<CatalogModel>;

/** Null: as the extended catalog says; without one a schedule without peak hours, all at the full rate. */
export interface ScheduleSpec {
  readonly timeZone: string | null;
  readonly peak: CatalogSchedule['peak'] | null;
  readonly peakFactorPpm: number | null;
  readonly offPeakFactorPpm: number | null;
  readonly promotions: CatalogSchedule['promotions'];
}

/** The spec in counting units: nano-currency, micro-credits, parts per million, milliseconds. */
export interface GlmCatalogSpec {
  readonly extends: typeof DEFAULT_CATALOG | null;
  readonly models: readonly ModelSpec[];
  readonly prices: readonly CatalogPrice[];
  readonly credits: readonly CreditCoefficients[];
  readonly plans: readonly CatalogPlan[];
  readonly schedule: ScheduleSpec;
  readonly errors: readonly CatalogError[];
}

export type GlmCatalog = Resource<GlmCatalogSpec>;

const NANO = 9;
const MICRO = 6;
/** With these bounds no amount of one call passes 2^53 (MAX_CALL_TOKENS). */
const MAX_RATE = 9999;
const MAX_FACTOR = 10;
const WEEKDAYS = ['Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday', 'Sunday'] as const;
const CLASSES: readonly ErrorClass[] = [
  'Concurrency',
  'Rate',
  'Overload',
  'Quota',
  'AccountStop',
  'ClientError',
  'Retry',
];

const suffix = string({
  min: 1,
  max: 16,
  pattern: /^[a-z0-9[\](){}._:@+-]+$/,
  hint: 'must be lower case, such as [1m]',
});
const names = withDefault(list(modelName, { max: 32 }), []);
const money = decimal({ scale: NANO, max: MAX_RATE * 10 ** NANO });
const coefficient = decimal({ scale: MICRO, max: MAX_RATE * 10 ** MICRO });
const factor = decimal({ scale: MICRO, max: MAX_FACTOR * 10 ** MICRO });

const model: Parser<ModelSpec> = checked(
  object<ModelSpec>({
    name: modelName,
    aliases: names,
    planAliases: names,
    suffixes: withDefault(list(suffix, { max: 8 }), []),
  }),
  ({ name }, at) => {
    if (name === OTHER_MODEL) at.child('name').fail(`${OTHER_MODEL} stands for the models that are not listed`);
  },
);

const tier = mapped(
  object({
    upToInputTokens: optional(integer({ min: 1, max: MAX_CALL_TOKENS })),
    input: money,
    cached: money,
    output: money,
  }),
  ({ upToInputTokens, input, cached, output }) => ({
    upToInputTokens,
    inputNano: input,
    cachedNano: cached,
    outputNano: output,
  }),
);

const price: Parser<CatalogPrice> = checked(
  object<CatalogPrice>({ model: modelName, currency: oneOf(['USD', 'CNY']), tiers: list(tier, { min: 1, max: 8 }) }),
  ({ tiers }, at) => {
    const bounds = tiers.map(({ upToInputTokens }) => upToInputTokens ?? Number.POSITIVE_INFINITY);
    const ascending = bounds.every((bound, index) => index === 0 || bound > (bounds[index - 1] ?? 0));
    if (!ascending) at.child('tiers').fail('must ascend by upToInputTokens; only the last tier may leave it out');
  },
);

const credits: Parser<CreditCoefficients> = mapped(
  object({ model: modelName, input: coefficient, cached: coefficient, output: coefficient }),
  ({ model: name, input, cached, output }) => ({
    model: name,
    inputMicro: input,
    cachedMicro: cached,
    outputMicro: output,
  }),
);

const planLimit = object({
  name: label(),
  amount: integer({ min: 1, max: 1_000_000_000 }),
  duration: durationMs({ minMs: 60_000, maxMs: 366 * 24 * 3_600_000 }),
});

const planWord = string({ min: 1, max: 63, pattern: /^[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?$/ });

const plan: Parser<CatalogPlan> = mapped(
  object({
    name: planWord,
    generation: planWord,
    unit: oneOf(['Prompts', 'Credits']),
    limits: listMap(planLimit, { min: 1, max: 8, keyOf: (limit) => limit.name }),
  }),
  ({ name, generation, unit, limits }) => ({
    name,
    generation,
    unit,
    limits: limits.map((limit) => ({
      name: limit.name,
      amount: unit === 'Credits' ? limit.amount * 10 ** MICRO : limit.amount,
      durationMs: limit.duration,
    })),
  }),
);

const peakHours = mapped(
  object({ weekdays: list(oneOf(WEEKDAYS), { min: 1, max: 7 }), from: minuteOfDay, to: minuteOfDay }),
  ({ weekdays, from, to }, at) =>
    from < to
      ? { weekdays: weekdays.map((day) => WEEKDAYS.indexOf(day) + 1), fromMinute: from, toMinute: to }
      : at.fail('from must be before to: write hours over midnight as two entries, the first until 24:00'),
);

const promotion = mapped(
  object({ name: label(), from: instantMs(), until: instantMs(), models: names, factor }),
  ({ name, from, until, models, factor: factorPpm }, at) =>
    from < until ? { name, fromMs: from, untilMs: until, models, factorPpm } : at.fail('from must be before until'),
);

const schedule: Parser<ScheduleSpec> = mapped(
  object({
    timeZone: optional(timeZone()),
    peak: optional(list(peakHours, { max: 32 })),
    peakFactor: optional(factor),
    offPeakFactor: optional(factor),
    promotions: withDefault(listMap(promotion, { max: 128, keyOf: ({ name }) => name }), []),
  }),
  ({ timeZone: zone, peak, peakFactor, offPeakFactor, promotions }) => ({
    timeZone: zone,
    peak,
    peakFactorPpm: peakFactor,
    offPeakFactorPpm: offPeakFactor,
    promotions,
  }),
);

const NO_SCHEDULE: ScheduleSpec = {
  timeZone: null,
  peak: null,
  peakFactorPpm: null,
  offPeakFactorPpm: null,
  promotions: [],
};

const error = object<CatalogError>({
  code: string({ min: 1, max: 64, pattern: /^[A-Za-z0-9_.-]+$/ }),
  class: oneOf(CLASSES),
});

const spec: Parser<GlmCatalogSpec> = checked(
  object<GlmCatalogSpec>({
    extends: optional(oneOf([DEFAULT_CATALOG])),
    models: withDefault(listMap(model, { min: 1, max: 128, keyOf: ({ name }) => name }), []),
    prices: withDefault(listMap(price, { max: 256, keyOf: (row) => `${row.model} in ${row.currency}` }), []),
    credits: withDefault(listMap(credits, { max: 128, keyOf: (row) => row.model }), []),
    plans: withDefault(listMap(plan, { max: 64, keyOf: (row) => `${row.name} of ${row.generation}` }), []),
    schedule: withDefault(schedule, NO_SCHEDULE),
    errors: withDefault(listMap(error, { max: 256, keyOf: ({ code }) => code }), []),
  }),
  (value, at) => {
    if (value.extends === null && value.models.length === 0) {
      at.child('models').fail(`is required, unless the catalog extends ${DEFAULT_CATALOG}`);
    }
    checkNames(value.models, at);
  },
);

/** A request name must lead to one model, or metering would depend on the order of the list. */
function checkNames(models: readonly ModelSpec[], at: Place): void {
  const owners = new Map(models.map(({ name }) => [name, name]));
  const planOwners = new Map<string, string>();
  for (const { name, aliases, planAliases } of models) {
    for (const alias of aliases) claim(owners, alias, name, at);
    for (const alias of planAliases) {
      if (alias === name) at.child('models').fail(`${name} cannot be routed to itself`);
      claim(planOwners, alias, name, at);
    }
  }
}

function claim(owners: Map<string, string>, alias: string, model_: string, at: Place): void {
  const owner = owners.get(alias);
  if (owner !== undefined) at.child('models').fail(`${alias} cannot lead to ${model_}: it already leads to ${owner}`);
  owners.set(alias, model_);
}

/** A GLMCatalog as the API server or a file holds it. */
export function parseGlmCatalog(input: unknown): Parsed<GlmCatalog> {
  const parsed = parseResource('GLMCatalog', spec, input);
  if (!parsed.ok || parsed.value.metadata.name !== DEFAULT_CATALOG || parsed.value.spec.extends === null) return parsed;
  return {
    ok: false,
    problems: [{ path: 'spec.extends', message: `the catalog ${DEFAULT_CATALOG} cannot extend itself` }],
  };
}
