/** Token counts as the vendor reports them, on each surface in its own words. */
import { MAX_CALL_TOKENS } from '../catalog/terms.ts';
import type { TokenUsage } from '../leases/terms.ts';
import { isJsonObject, type JsonObject, type Surface } from './terms.ts';

/**
 * Whether the Anthropic surface's `input_tokens` leaves out what was read from the cache (its contract) or includes it.
 * Not proven for this vendor, hence a setting.
 */
export type InputStyle = 'Exclusive' | 'Inclusive';

/** Counts as reported, null where no usage object had the field. */
export interface ReportedUsage {
  readonly prompt: number | null;
  readonly cached: number | null;
  readonly output: number | null;
}

export const NO_USAGE: ReportedUsage = { prompt: null, cached: null, output: null };

/**
 * The usage in one JSON body or stream frame. The vendor's streams report zeros first and the truth last, so callers
 * merge all of them with `mergeUsage`.
 */
export function reportedUsage(json: JsonObject, surface: Surface): ReportedUsage {
  const places = [json['usage'], inner(json, 'message'), inner(json, 'response')];
  return places
    .filter(isJsonObject)
    .map((usage) => (surface === 'OpenAI' ? openAiUsage(usage) : inputOutputUsage(usage)))
    .reduce(mergeUsage, NO_USAGE);
}

function inner(json: JsonObject, key: string): unknown {
  const value = json[key];
  return isJsonObject(value) ? value['usage'] : undefined;
}

function openAiUsage(usage: JsonObject): ReportedUsage {
  return {
    prompt: count(usage['prompt_tokens']),
    cached: detail(usage, 'prompt_tokens_details', 'cached_tokens'),
    output: count(usage['completion_tokens']),
  };
}

/** Anthropic messages and OpenAI responses share the names of the sums and differ in that of the cached part. */
function inputOutputUsage(usage: JsonObject): ReportedUsage {
  const input = count(usage['input_tokens']);
  const written = count(usage['cache_creation_input_tokens']);
  return {
    prompt: input === null && written === null ? null : (input ?? 0) + (written ?? 0),
    cached: count(usage['cache_read_input_tokens']) ?? detail(usage, 'input_tokens_details', 'cached_tokens'),
    output: count(usage['output_tokens']),
  };
}

function detail(usage: JsonObject, group: string, field: string): number | null {
  const details = usage[group];
  return isJsonObject(details) ? count(details[field]) : null;
}

function count(value: unknown): number | null {
  if (typeof value !== 'number' || !Number.isFinite(value) || value < 0) return null;
  return Math.min(Math.floor(value), MAX_CALL_TOKENS);
}

/** The larger of each field. */
export function mergeUsage(a: ReportedUsage, b: ReportedUsage): ReportedUsage {
  return { prompt: larger(a.prompt, b.prompt), cached: larger(a.cached, b.cached), output: larger(a.output, b.output) };
}

function larger(a: number | null, b: number | null): number | null {
  return a === null || b === null ? (a ?? b) : Math.max(a, b);
}

/**
 * Uncached input, cached input and output of a call; null when nothing but zeros was reported, as at the start of a
 * stream that was cut. On the OpenAI surfaces prompts include their cached part.
 */
export function tokenUsage(reported: ReportedUsage, surface: Surface, style: InputStyle): TokenUsage | null {
  const cachedTokens = reported.cached ?? 0;
  const prompt = reported.prompt ?? 0;
  const outputTokens = reported.output ?? 0;
  if (prompt + cachedTokens + outputTokens === 0) return null;
  const exclusive = surface === 'Anthropic' && style === 'Exclusive';
  return { inputTokens: exclusive ? prompt : Math.max(0, prompt - cachedTokens), cachedTokens, outputTokens };
}
