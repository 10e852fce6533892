/** The Anthropic surface: `message_start` says nothing of usage, the last `message_delta` says all. */
import type { StreamKnobs } from '../terms.ts';
import {
  isFields,
  namedEvent,
  positiveInteger,
  textLength,
  tokensOf,
  type Answer,
  type Ask,
  type Fields,
  type Frame,
  type Surface,
} from './surface.ts';

const STOP_REASONS: Record<string, string> = { stop: 'end_turn', length: 'max_tokens', tool_calls: 'tool_use' };

/** Whether `cache_control` stands anywhere in it. */
function hasMarker(value: unknown): boolean {
  if (Array.isArray(value)) return value.some(hasMarker);
  return isFields(value) && ('cache_control' in value || hasMarker(value['content']));
}

const isToolResult = (content: unknown): boolean =>
  Array.isArray(content) && content.some((part) => isFields(part) && part['type'] === 'tool_result');

function forcedTool({ tool_choice: choice, tools }: Fields): string | undefined {
  if (!isFields(choice)) return undefined;
  if (typeof choice['name'] === 'string') return choice['name'];
  const [first] = Array.isArray(tools) ? tools : [];
  const name = isFields(first) ? first['name'] : undefined;
  return choice['type'] === 'any' && typeof name === 'string' ? name : undefined;
}

function promptTokens({ messages, system }: Fields): number {
  const contents = Array.isArray(messages)
    ? messages.map((each: unknown) => (isFields(each) ? each['content'] : each))
    : [];
  return tokensOf(textLength(contents) + textLength(system));
}

function read(body: Fields): Ask | { refuse: string } {
  const { model, messages, thinking } = body;
  if (typeof model !== 'string' || model === '') return { refuse: '1213' };
  if (!Array.isArray(messages) || messages.length === 0) return { refuse: '1214' };
  const maxTokens = positiveInteger(body['max_tokens']);
  if (maxTokens === undefined || maxTokens > 131_072) return { refuse: '1210' };
  const last: unknown = messages.at(-1);
  return {
    model,
    isStream: body['stream'] === true,
    promptTokens: promptTokens(body),
    maxTokens,
    forcedTool: forcedTool(body),
    isUserTurn: isFields(last) && last['role'] === 'user' && !isToolResult(last['content']),
    thinkingDisabled: isFields(thinking) && thinking['type'] === 'disabled',
    hasCacheMarker: hasMarker(body['system']) || hasMarker(messages),
    includeUsage: false,
    toolStream: true,
  };
}

/** Tokens `/v1/messages/count_tokens` answers; undefined when the body makes no sense. */
export function countTokens(body: unknown): number | undefined {
  return isFields(body) && Array.isArray(body['messages']) ? promptTokens(body) : undefined;
}

function usageOf({ usage }: Answer, inputIncludesCached: boolean): object {
  return {
    input_tokens: inputIncludesCached ? usage.prompt : usage.prompt - usage.cached,
    output_tokens: usage.output,
    cache_read_input_tokens: usage.cached,
  };
}

const toolBlock = (tool: NonNullable<Answer['tool']>, input: object): object => ({
  type: 'tool_use',
  id: tool.id,
  name: tool.name,
  input,
});

function plain(answer: Answer, _knobs: StreamKnobs, inputIncludesCached: boolean): object {
  const { tool } = answer;
  return {
    id: answer.id,
    type: 'message',
    role: 'assistant',
    model: answer.model,
    content: [
      ...(answer.reasoning.length > 0
        ? [{ type: 'thinking', thinking: answer.reasoning.join(''), signature: answer.id }]
        : []),
      ...(answer.text.length > 0 ? [{ type: 'text', text: answer.text.join('') }] : []),
      ...(tool ? [toolBlock(tool, JSON.parse(tool.arguments) as object)] : []),
    ],
    stop_reason: STOP_REASONS[answer.finish] ?? answer.finish,
    stop_sequence: null,
    usage: usageOf(answer, inputIncludesCached),
  };
}

interface Block {
  start: object;
  deltas: object[];
}

function blocksOf({ reasoning, text, tool }: Answer): Block[] {
  const blocks: Block[] = [];
  if (reasoning.length > 0)
    blocks.push({
      start: { type: 'thinking', thinking: '', signature: '' },
      deltas: reasoning.map((piece) => ({ type: 'thinking_delta', thinking: piece })),
    });
  if (text.length > 0)
    blocks.push({
      start: { type: 'text', text: '' },
      deltas: text.map((piece) => ({ type: 'text_delta', text: piece })),
    });
  if (tool) {
    const half = Math.ceil(tool.arguments.length / 2);
    const pieces = [tool.arguments.slice(0, half), tool.arguments.slice(half)];
    const deltas = pieces.map((piece) => ({ type: 'input_json_delta', partial_json: piece }));
    blocks.push({ start: toolBlock(tool, {}), deltas });
  }
  return blocks;
}

function frames(answer: Answer, _knobs: StreamKnobs, inputIncludesCached: boolean): Frame[] {
  const found: Frame[] = [];
  const blocks = blocksOf(answer);
  const pieces = blocks.reduce((sum, { deltas }) => sum + deltas.length, 0);
  let sent = 0;
  const add = (name: string, body: object): void => {
    const tokens = Math.floor((answer.usage.output * sent) / Math.max(1, pieces));
    found.push({ text: namedEvent(name, { type: name, ...body }), tokens });
  };
  const message = { id: answer.id, type: 'message', role: 'assistant', model: answer.model, content: [] };
  const usage = { input_tokens: 0, output_tokens: 0 };
  add('message_start', { message: { ...message, stop_reason: null, stop_sequence: null, usage } });
  add('ping', {});
  for (const [index, block] of blocks.entries()) {
    add('content_block_start', { index, content_block: block.start });
    for (const delta of block.deltas) {
      sent += 1;
      add('content_block_delta', { index, delta });
    }
    add('content_block_stop', { index });
  }
  const delta = { stop_reason: STOP_REASONS[answer.finish] ?? answer.finish, stop_sequence: null };
  add('message_delta', { delta, usage: usageOf(answer, inputIncludesCached) });
  add('message_stop', {});
  return found;
}

export const messages: Surface = {
  name: 'messages',
  idPrefix: 'msg_',
  read,
  plain,
  frames,
  errorFrame: (body) => namedEvent('error', body),
};
