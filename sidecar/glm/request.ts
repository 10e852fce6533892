/** What an inference request asks for, read from its body without changing or copying it. */
import { scanObject, type RawMember } from './json-scan.ts';

export type ReadRequest =
  | {
      readonly kind: 'call';
      /** As the client wrote it. */
      readonly model: string;
      readonly stream: boolean;
      /** The most output tokens the client allows; null: it set no bound. */
      readonly maxOutputTokens: number | null;
      readonly bodyBytes: number;
    }
  /** The body is no JSON object that could be metered; `message` says why, for the client. */
  | { readonly kind: 'unreadable'; readonly message: string };

const FIELDS = ['model', 'stream', 'max_tokens', 'max_completion_tokens', 'max_output_tokens'] as const;
type Field = (typeof FIELDS)[number];
const LONGEST_MODEL_NAME = 256;

/**
 * Reads model, streaming and output bound of a request on any surface. A field given twice is refused: two readers
 * could take different ones, and the call would be counted on another model than it is served by.
 */
export function readRequest(body: Uint8Array): ReadRequest {
  const scanned = scanObject(body, new Set<string>(FIELDS));
  if (scanned.kind === 'broken') return unreadable(`the request body is not a JSON object: ${scanned.message}`);
  const twice = scanned.members.find((member, index) => scanned.members.findIndex((m) => m.key === member.key) < index);
  if (twice) return unreadable(`the request body has the field "${twice.key}" twice`);
  const model = valueOf(scanned.members, 'model');
  if (typeof model !== 'string' || model.trim() === '') return unreadable('the request body names no model');
  if (model.length > LONGEST_MODEL_NAME) return unreadable('the model name is too long');
  return {
    kind: 'call',
    model,
    stream: valueOf(scanned.members, 'stream') === true,
    maxOutputTokens: outputBound(scanned.members),
    bodyBytes: body.length,
  };
}

function unreadable(message: string): ReadRequest {
  return { kind: 'unreadable', message };
}

function valueOf(members: readonly RawMember[], field: Field): unknown {
  return members.find(({ key }) => key === field)?.value;
}

/** The smallest bound given; nonsense values are left to the vendor to refuse. */
function outputBound(members: readonly RawMember[]): number | null {
  const bounds = FIELDS.filter((field) => field.startsWith('max_'))
    .map((field) => valueOf(members, field))
    .filter((value): value is number => typeof value === 'number' && Number.isSafeInteger(value) && value > 0);
  return bounds.length === 0 ? null : Math.min(...bounds);
}
