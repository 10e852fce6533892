/** The words of the vendor's protocol. */
import type { ErrorClass } from '../catalog/terms.ts';

/** A family of vendor APIs with its own shapes of usage and errors. */
export const SURFACES = ['OpenAI', 'Anthropic', 'Responses'] as const;
export type Surface = (typeof SURFACES)[number];

/** An error the vendor reported, in a status line or inside a stream. */
export interface VendorFailure {
  /** The vendor's code such as `1302`; null when it gave none. */
  readonly code: string | null;
  readonly class: ErrorClass;
  readonly message: string;
  /** The reset time the message states, in ms since the Unix epoch; may be past; null: none stated. */
  readonly resetAtMs: number | null;
}

/** Objects and arrays of parsed JSON. */
export type JsonObject = Readonly<Record<string, unknown>>;

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The value of `text` as JSON, or undefined when it is none. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}
