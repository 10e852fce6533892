/** Fields of LeaseService requests, checked: every error is INVALID_ARGUMENT and names the field. */
import { Outcome as WireOutcome, type Usage } from '../../proto/gen/glmquota/v1/lease_pb.ts';
import { AppError } from '../base/errors.ts';
import { MAX_AMOUNT, type Outcome } from '../engine/terms.ts';
import type { TokenUsage } from '../leases/terms.ts';

const ID = /^[\x21-\x7e]{1,128}$/;
const MAX_MODEL_CHARACTERS = 256;

const OUTCOMES: ReadonlyMap<WireOutcome, Outcome> = new Map([
  [WireOutcome.COMPLETED, 'completed'],
  [WireOutcome.BROKE, 'brokeMidStream'],
  [WireOutcome.FAILED, 'failedBeforeFirstByte'],
]);

export function parseId(id: string): string {
  if (!ID.test(id)) throw new AppError('invalid', 'id must be 1 to 128 printable ASCII characters without spaces');
  return id;
}

export function parseModel(model: string): string {
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

/** Absent means zero everywhere. The sum is bounded as well: it is what `Tokens` counts. */
export function parseUsage(usage: Usage | undefined, field: string): TokenUsage {
  const parsed = {
    inputTokens: tokens(usage?.inputTokens ?? 0n, `${field}.input_tokens`),
    cachedTokens: tokens(usage?.cachedTokens ?? 0n, `${field}.cached_tokens`),
    outputTokens: tokens(usage?.outputTokens ?? 0n, `${field}.output_tokens`),
  };
  const sum = BigInt(parsed.inputTokens) + BigInt(parsed.cachedTokens) + BigInt(parsed.outputTokens);
  tokens(sum, `the sum of ${field}`);
  return parsed;
}

function tokens(amount: bigint, field: string): number {
  if (amount < 0n || amount > BigInt(MAX_AMOUNT)) {
    throw new AppError('invalid', `${field} is ${amount}: it must be between 0 and ${MAX_AMOUNT}`);
  }
  return Number(amount);
}
