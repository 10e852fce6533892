/** What single frames of the vendor's streams hold. */
import { isJsonObject, parseJson, type JsonObject, type Surface } from './terms.ts';

/** The end of an OpenAI stream; no JSON. */
const DONE = '[DONE]';

const MARKERS = /"usage"|"error"|network_error|message_stop|\[DONE\]/;

/** False for the frames in the middle of a stream that hold neither usage, error nor end: most are a word of output. */
export function mayMatter(data: Buffer): boolean {
  // One pass over a byte-for-byte string is several times faster than searching the buffer for each.
  return MARKERS.test(data.toString('latin1'));
}

/**
 * The JSON values (and `[DONE]`) of one frame. The vendor has been seen to glue frames together, with a line feed or
 * nothing between them; what cannot be read is left out.
 */
export function framesOf(data: string): readonly unknown[] {
  const whole = parsePiece(data);
  if (whole !== undefined) return [whole];
  return data
    .split(/\n|(?<=[}\]])\s*data:/)
    .map(parsePiece)
    .filter((piece) => piece !== undefined);
}

function parsePiece(text: string): unknown {
  return text.trim() === DONE ? DONE : parseJson(text);
}

const LAST_TYPES: Readonly<Record<Exclude<Surface, 'OpenAI'>, readonly string[]>> = {
  Anthropic: ['message_stop'],
  Responses: ['response.completed', 'response.incomplete', 'response.failed'],
};

/**
 * Whether a frame's value says that nothing of worth follows. On the OpenAI surface that is the frame with both finish
 * reason and usage, too: clients often hang up there, before `[DONE]`.
 */
export function isLast(piece: unknown, surface: Surface): boolean {
  if (piece === DONE) return true;
  if (!isJsonObject(piece)) return false;
  if (surface !== 'OpenAI') return LAST_TYPES[surface].some((type) => type === piece['type']);
  return isJsonObject(piece['usage']) && finishReasons(piece).some((reason) => typeof reason === 'string');
}

/** The finish reasons of the choices; null or undefined while one goes on. */
export function finishReasons(json: JsonObject): unknown[] {
  return listIn(json, 'choices').map((choice) => choice['finish_reason']);
}

/** Whether a body or frame holds output of the model, be it text, thinking or a tool call. */
export function hasContent(json: JsonObject, surface: Surface): boolean {
  if (surface === 'OpenAI') return listIn(json, 'choices').some(choiceHasContent);
  if (surface === 'Anthropic') return json['type'] === 'content_block_delta' || listIn(json, 'content').length > 0;
  const type = json['type'];
  return (typeof type === 'string' && type.endsWith('.delta')) || listIn(json, 'output').length > 0;
}

const OUTPUT_FIELDS = ['content', 'reasoning_content', 'tool_calls', 'refusal'] as const;

function choiceHasContent(choice: JsonObject): boolean {
  const message = isJsonObject(choice['delta']) ? choice['delta'] : choice['message'];
  if (!isJsonObject(message)) return false;
  return OUTPUT_FIELDS.map((field) => message[field]).some(
    (value) => (typeof value === 'string' || Array.isArray(value)) && value.length > 0,
  );
}

function listIn(json: JsonObject, key: string): JsonObject[] {
  const value = json[key];
  return Array.isArray(value) ? value.filter(isJsonObject) : [];
}

/** The text at `key` of the object itself, its `message` (Anthropic) or its `response` (Responses); null: none. */
export function textIn(json: JsonObject, key: string): string | null {
  const places = [json, json['message'], json['response']].filter(isJsonObject);
  const texts = places.map((place) => place[key]);
  return texts.find((text): text is string => typeof text === 'string' && text !== '') ?? null;
}
