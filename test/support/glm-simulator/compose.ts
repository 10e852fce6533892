/** The answer to a question: the same question and directive always get the same one. */
import type { Directive } from './directive.ts';
import type { Answer, Ask } from './surfaces/surface.ts';
import type { AnswerKnobs } from './terms.ts';

export interface Composition {
  ask: Ask;
  directive: Directive;
  knobs: AnswerKnobs;
  id: string;
  nowMs: number;
  model: string;
}

const pieceCache = new Map<string, string[]>();

/** `tokens` words in pieces of `chunk` words; every 32nd not ASCII, so that cut characters are seen; short answers stay ASCII, which is faster. */
function pieces(tokens: number, chunk: number, word: string): string[] {
  const key = `${word} ${tokens} ${chunk}`;
  const known = pieceCache.get(key);
  if (known) return known;
  const made: string[] = [];
  for (let at = 0; at < tokens; at += chunk) {
    const words = Array.from({ length: Math.min(chunk, tokens - at) }, (_, index) =>
      (at + index) % 32 === 23 ? '知谱 ' : `${word}${at + index} `,
    );
    made.push(words.join(''));
  }
  if (pieceCache.size < 1000) pieceCache.set(key, made);
  return made;
}

type Usage = Answer['usage'] & { isCut: boolean };

function usageOf({ ask, directive, knobs }: Composition): Usage {
  const wanted = Math.max(0, directive.tokens ?? knobs.outputTokens);
  const output = Math.min(wanted, ask.maxTokens ?? Infinity);
  const prompt = directive.prompt ?? ask.promptTokens;
  return {
    prompt,
    cached: Math.floor((prompt * Math.min(100, directive.cached ?? knobs.cachedPercent)) / 100),
    output,
    reasoning: Math.min(output, directive.reasoning ?? knobs.reasoningTokens),
    isCut: output < wanted,
  };
}

function toolOf({ ask, directive, id }: Composition): Answer['tool'] {
  const name = directive.tool ?? ask.forcedTool;
  return name === undefined
    ? undefined
    : { id: `call_${id}`, name, arguments: '{"location":"Beijing","unit":"celsius"}' };
}

export function compose(composition: Composition): Answer {
  const { ask, directive, knobs, id, nowMs, model } = composition;
  const chunk = Math.max(1, directive.chunk ?? knobs.tokensPerChunk);
  const { isCut, ...usage } = usageOf(composition);
  const tool = toolOf(composition);
  return {
    id,
    createdMs: nowMs,
    model,
    text: tool ? [] : pieces(usage.output - usage.reasoning, chunk, 'word'),
    reasoning: pieces(usage.reasoning, chunk, 'thought'),
    tool,
    finish: directive.finish ?? (isCut ? 'length' : tool ? 'tool_calls' : 'stop'),
    usage,
    includeUsage: ask.includeUsage,
    toolStream: ask.toolStream,
  };
}
