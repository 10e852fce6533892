/** Requests → ARGV, checked: what is not an integer in bounds never reaches Redis. */
import { AppError } from '../base/errors.ts';
import { type AcquireRequest, type CallRecord, type Settlement } from './terms.ts';
import { MAX_AMOUNT, PRIORITY_CLASSES, type Amounts } from './tree-terms.ts';

/** The nine amounts in the order `read_amounts` of `lua/leases.lua` takes them. */
export function amountArguments(amounts: Amounts): readonly string[] {
  const { requests, prompts, inputTokens, cachedTokens, outputTokens } = amounts;
  const { microCredits, nanoCost, costUnits, runtimeSeconds } = amounts;
  const tokenAmounts = [inputTokens, cachedTokens, outputTokens];
  const all = [requests, prompts, ...tokenAmounts, microCredits, nanoCost, costUnits, runtimeSeconds];
  const tokens = inputTokens + cachedTokens + outputTokens;
  if ([...all, tokens].some((amount) => !Number.isSafeInteger(amount) || amount < 0 || amount > MAX_AMOUNT))
    throw new AppError('invalid', `amounts must be integers from 0 to ${MAX_AMOUNT}: ${all.join(' ')}`);
  return all.map(String);
}

export function settlementArguments(settlement: Settlement): readonly string[] {
  const { id, fence, outcome, actual, sentAfterMs, firstByteAfterMs, holdMs, frozenUntilMs } = settlement;
  const offsets = [sentAfterMs, firstByteAfterMs, holdMs, frozenUntilMs].map(offset);
  return [
    id,
    String(fence),
    outcome,
    ...offsets,
    ...amountArguments(actual),
    recordArgument(settlement.record ?? null),
  ];
}

/** Longer texts of a record are cut: a settlement never fails for what is only told. */
const LONGEST_TEXT = 200;
const LONGEST_TRACE = 20;

function recordArgument(record: CallRecord | null): string {
  if (record === null) return '';
  const { requestId, user, surface, model, status, latencyMs, firstByteMs, attempts, isEstimate, trace } = record;
  const short = (text: string | null): string | null => text?.slice(0, LONGEST_TEXT) ?? null;
  const times = [latencyMs, firstByteMs].map((ms) => ms && Math.round(ms));
  const texts = [requestId, user, surface, model].map(short);
  const said = trace.slice(0, LONGEST_TRACE).map(short);
  return JSON.stringify([...texts, status, ...times, attempts, isEstimate ? 1 : 0, said]);
}

/** The inverse, of what the ledger kept; null: nothing was said. Fails with code `invalid` for anything else. */
export function parseRecord(text: string): CallRecord | null {
  if (text === '') return null;
  const [requestId, user, surface, model, status, latencyMs, firstByteMs, attempts, isEstimate, trace] = JSON.parse(
    text,
  ) as RecordText;
  const about = { requestId, user, surface, model, status };
  return { ...about, latencyMs, firstByteMs, attempts, isEstimate: isEstimate === 1, trace };
}

type RecordText = readonly [
  string | null,
  string | null,
  string,
  string | null,
  number | null,
  number,
  number | null,
  number,
  0 | 1,
  readonly string[],
];

const WAIT_MODES = { Reject: 'R', UntilSlot: 'S', UntilWindow: 'W' } as const;

/** A call in the order `read_request` of `lua/leases.lua` takes it. */
export function callArguments(request: AcquireRequest): readonly string[] {
  const { leaf, model, maxRuntimeMs, flowKey, attributes, wait, place } = request;
  const { tool, capability, source, user, pool, namespace } = attributes;
  const texts = [leaf, model, flowKey, place, tool, capability, source, user, pool, namespace].map(
    (each) => each ?? '',
  );
  // A zero byte would end the text early in a record, a line feed a line of a notice.
  if (texts.some((text) => /[\0\n]/.test(text)))
    throw new AppError('invalid', 'names of a call hold no zero byte or line feed');
  return [
    leaf,
    model,
    String(maxRuntimeMs),
    String(PRIORITY_CLASSES.indexOf(request.class) + 1),
    flowKey,
    WAIT_MODES[wait.mode],
    String(Math.max(0, Math.round(wait.maxWaitMs))),
    place ?? '',
    ...texts.slice(4),
    ...amountArguments(request.reserve),
  ];
}

/** An optional number; Lua reads the empty string as none. */
export function maybe(value: number | null): string {
  return value === null ? '' : String(value);
}

function offset(ms: number | null): string {
  if (ms === null) return '-1';
  if (!Number.isSafeInteger(ms) || ms < 0) throw new AppError('invalid', `an offset must be whole milliseconds: ${ms}`);
  return String(ms);
}
