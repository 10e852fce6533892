/** What the three API families have in common: a question read from a body, an answer written back. */
import type { StreamKnobs } from '../terms.ts';
import type { SurfaceName } from '../refusal.ts';

export interface Ask {
  model: string;
  isStream: boolean;
  /** Tokens of the prompt, by a plain rule: four characters each. */
  promptTokens: number;
  maxTokens: number | undefined;
  /** A tool the request insists on. */
  forcedTool: string | undefined;
  /** The last message is the user's own, not a tool's result. */
  isUserTurn: boolean;
  thinkingDisabled: boolean;
  /** The body carries `cache_control`. */
  hasCacheMarker: boolean;
  includeUsage: boolean;
  toolStream: boolean;
}

export interface Answer {
  id: string;
  createdMs: number;
  model: string;
  text: string[];
  reasoning: string[];
  tool: { id: string; name: string; arguments: string } | undefined;
  /** In the words of the chat surface. */
  finish: string;
  usage: { prompt: number; cached: number; output: number; reasoning: number };
  includeUsage: boolean;
  toolStream: boolean;
}

/** One piece of a stream and the output tokens delivered once it is out. */
export interface Frame {
  text: string;
  tokens: number;
}

export interface Surface {
  name: SurfaceName;
  /** The question, or the code it is refused with. */
  read: (body: Record<string, unknown>) => Ask | { refuse: string };
  plain: (answer: Answer, knobs: StreamKnobs, inputIncludesCached: boolean) => object;
  frames: (answer: Answer, knobs: StreamKnobs, inputIncludesCached: boolean) => Frame[];
  /** An error inside a running stream. */
  errorFrame: (body: object) => string;
  idPrefix: string;
}

export type Fields = Record<string, unknown>;

export const isFields = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Characters of text in message content of any shape. */
export function textLength(content: unknown): number {
  if (typeof content === 'string') return content.length;
  if (Array.isArray(content)) return content.reduce((sum: number, part) => sum + textLength(part), 0);
  if (!isFields(content)) return 0;
  if (typeof content['text'] === 'string') return content['text'].length;
  return textLength(content['content']) || JSON.stringify(content).length;
}

export const tokensOf = (characters: number): number => Math.max(1, Math.ceil(characters / 4));

export const positiveInteger = (value: unknown): number | undefined =>
  typeof value === 'number' && Number.isInteger(value) && value > 0 ? value : undefined;

/** Server-sent event with a name. */
export const namedEvent = (name: string, body: object): string => `event: ${name}\ndata: ${JSON.stringify(body)}\n\n`;
