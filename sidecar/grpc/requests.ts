/** Fields of LeaseService requests, checked: every error is INVALID_ARGUMENT and names the field. */
import { type AcquireRequest, Outcome as WireOutcome, type Usage } from '../../proto/gen/glmquota/v1/lease_pb.ts';
import { AppError } from '../base/errors.ts';
import { type Outcome } from '../engine/terms.ts';
import { MAX_AMOUNT, PRIORITY_CLASSES, type PriorityClass } from '../engine/tree-terms.ts';
import type { CallSpec, Claims, TokenUsage } from '../leases/terms.ts';

const ID = /^[\x21-\x7e]{1,128}$/;
const MAX_MODEL_CHARACTERS = 256;
const MAX_ATTRIBUTE_CHARACTERS = 128;
const ATTRIBUTES = ['tool', 'capability', 'source', 'user'] as const;

const OUTCOMES: ReadonlyMap<WireOutcome, Outcome> = new Map([
  [WireOutcome.COMPLETED, 'completed'],
  [WireOutcome.BROKE, 'brokeMidStream'],
  [WireOutcome.FAILED, 'failedBeforeFirstByte'],
]);

export function parseId(id: string): string {
  if (!ID.test(id)) throw new AppError('invalid', 'id must be 1 to 128 printable ASCII characters without spaces');
  return id;
}

function parseModel(model: string): string {
  if (model === '' || model.length > MAX_MODEL_CHARACTERS) {
    throw new AppError('invalid', `model must have 1 to ${MAX_MODEL_CHARACTERS} characters`);
  }
  return model;
}

export function parseOutcome(outcome: WireOutcome): Outcome {
  const known = OUTCOMES.get(outcome);
  if (known === undefined) throw new AppError('invalid', 'outcome must be COMPLETED, BROKE or FAILED');
  return known;
}

/** What the desk is asked for; `id` names the work to its caller. */
export function parseCall(request: AcquireRequest, id: string): CallSpec {
  const { costUnits, ...estimate } = parseUsage(request.estimate, 'estimate');
  return {
    model: parseModel(request.model),
    estimate,
    costUnits,
    runtimeSeconds: amount(request.runtimeSeconds, 'runtime_seconds'),
    claims: parseClaims(request),
    place: () => `work:${id}`,
  };
}

function parseClaims(request: AcquireRequest): Claims {
  const { maxWaitMs, priority } = request;
  const given = ATTRIBUTES.filter((name) => request[name] !== '');
  for (const name of given) {
    if (request[name].length > MAX_ATTRIBUTE_CHARACTERS)
      throw new AppError('invalid', `${name} must have at most ${MAX_ATTRIBUTE_CHARACTERS} characters`);
  }
  return {
    attributes: Object.fromEntries(given.map((name) => [name, request[name]])),
    ...(priority === '' ? {} : { class: parsePriority(priority) }),
    ...(maxWaitMs === undefined ? {} : { maxWaitMs: amount(maxWaitMs, 'max_wait_ms') }),
  };
}

function parsePriority(priority: string): PriorityClass {
  const known = PRIORITY_CLASSES.find((each) => each === priority);
  if (known === undefined) throw new AppError('invalid', `priority must be one of ${PRIORITY_CLASSES.join(', ')}`);
  return known;
}

export interface WorkUsage extends TokenUsage {
  readonly costUnits: number;
}

/** Absent means zero everywhere. The sum of the tokens is bounded as well: it is what `Tokens` counts. */
export function parseUsage(usage: Usage | undefined, field: string): WorkUsage {
  const parsed = {
    inputTokens: amount(usage?.inputTokens ?? 0n, `${field}.input_tokens`),
    cachedTokens: amount(usage?.cachedTokens ?? 0n, `${field}.cached_tokens`),
    outputTokens: amount(usage?.outputTokens ?? 0n, `${field}.output_tokens`),
  };
  const sum = BigInt(parsed.inputTokens) + BigInt(parsed.cachedTokens) + BigInt(parsed.outputTokens);
  amount(sum, `the sum of ${field}`);
  return { ...parsed, costUnits: amount(usage?.costUnits ?? 0n, `${field}.cost_units`) };
}

function amount(value: bigint, field: string): number {
  if (value < 0n || value > BigInt(MAX_AMOUNT)) {
    throw new AppError('invalid', `${field} is ${value}: it must be between 0 and ${MAX_AMOUNT}`);
  }
  return Number(value);
}
