/** `/chat/completions` as the vendor speaks it: usage in the last content chunk, `reasoning_content`, no `event:` lines. */
import type { StreamKnobs } from '../terms.ts';
import {
  isFields,
  positiveInteger,
  textLength,
  tokensOf,
  type Answer,
  type Ask,
  type Fields,
  type Frame,
  type Surface,
} from './surface.ts';

function forcedTool({ tool_choice: choice, tools }: Fields): string | undefined {
  const named = isFields(choice) && isFields(choice['function']) ? choice['function']['name'] : undefined;
  if (typeof named === 'string') return named;
  const [first] = Array.isArray(tools) ? tools : [];
  const name = isFields(first) && isFields(first['function']) ? first['function']['name'] : undefined;
  return choice === 'required' && typeof name === 'string' ? name : undefined;
}

/** The code a body is refused with, if it is. */
function problemOf({ model, messages, temperature, max_tokens: maxTokens }: Fields): string | undefined {
  if (typeof model !== 'string' || model === '') return '1213';
  if (!Array.isArray(messages) || messages.length === 0) return '1214';
  if (typeof temperature === 'number' && (temperature < 0 || temperature > 1)) return '1210';
  const hasLimit = maxTokens !== undefined && maxTokens !== null;
  return hasLimit && (positiveInteger(maxTokens) ?? Infinity) > 131_072 ? '1210' : undefined;
}

function read(body: Fields): Ask | { refuse: string } {
  const refuse = problemOf(body);
  if (refuse !== undefined) return { refuse };
  const { thinking, stream_options: options } = body;
  const messages = body['messages'] as unknown[];
  const last = messages.at(-1);
  return {
    model: body['model'] as string,
    isStream: body['stream'] === true,
    promptTokens: tokensOf(textLength(messages.map((each) => (isFields(each) ? each['content'] : each)))),
    maxTokens: positiveInteger(body['max_tokens']),
    forcedTool: forcedTool(body),
    isUserTurn: isFields(last) && last['role'] === 'user',
    thinkingDisabled: isFields(thinking) && thinking['type'] === 'disabled',
    hasCacheMarker: false,
    includeUsage: isFields(options) && options['include_usage'] === true,
    toolStream: body['tool_stream'] === true,
  };
}

const usageOf = ({ usage }: Answer): object => ({
  prompt_tokens: usage.prompt,
  completion_tokens: usage.output,
  total_tokens: usage.prompt + usage.output,
  prompt_tokens_details: { cached_tokens: usage.cached },
  ...(usage.reasoning > 0 ? { completion_tokens_details: { reasoning_tokens: usage.reasoning } } : {}),
});

function plain(answer: Answer, knobs: StreamKnobs): object {
  const { tool } = answer;
  const call = tool && {
    id: tool.id,
    type: 'function',
    index: 0,
    function: { name: tool.name, arguments: tool.arguments },
  };
  return {
    id: answer.id,
    ...(knobs.object ? { object: 'chat.completion' } : {}),
    created: Math.floor(answer.createdMs / 1000),
    model: answer.model,
    choices: [
      {
        index: 0,
        finish_reason: answer.finish,
        message: {
          role: 'assistant',
          content: answer.text.join(''),
          ...(answer.reasoning.length > 0 ? { reasoning_content: answer.reasoning.join('') } : {}),
          ...(call ? { tool_calls: [call] } : {}),
        },
      },
    ],
    usage: usageOf(answer),
  };
}

function toolDeltas({ tool, toolStream }: Answer): object[] {
  if (!tool) return [];
  const head = { index: 0, id: tool.id, type: 'function' };
  if (!toolStream) return [{ tool_calls: [{ ...head, function: { name: tool.name, arguments: tool.arguments } }] }];
  const half = Math.ceil(tool.arguments.length / 2);
  return [
    { tool_calls: [{ ...head, function: { name: tool.name, arguments: '' } }] },
    { tool_calls: [{ index: 0, function: { arguments: tool.arguments.slice(0, half) } }] },
    { tool_calls: [{ index: 0, function: { arguments: tool.arguments.slice(half) } }] },
  ];
}

function frames(answer: Answer, knobs: StreamKnobs): Frame[] {
  const base = {
    id: answer.id,
    ...(knobs.object ? { object: 'chat.completion.chunk' } : {}),
    created: Math.floor(answer.createdMs / 1000),
    model: answer.model,
  };
  const deltas = [
    ...answer.reasoning.map((text) => ({ reasoning_content: text })),
    ...answer.text.map((text) => ({ content: text })),
    ...toolDeltas(answer),
  ];
  const place = knobs.usage === 'Auto' ? (answer.includeUsage ? 'EmptyChoices' : 'LastChunk') : knobs.usage;
  const { output } = answer.usage;
  const found = deltas.map((delta, index) => ({
    text: `data: ${JSON.stringify({ ...base, choices: [{ index: 0, delta: index === 0 ? { role: 'assistant', ...delta } : delta }] })}\n\n`,
    tokens: Math.floor((output * (index + 1)) / deltas.length),
  }));
  const last = {
    ...base,
    choices: [{ index: 0, finish_reason: answer.finish, delta: { role: 'assistant', content: '' } }],
    ...(place === 'LastChunk' ? { usage: usageOf(answer) } : {}),
  };
  found.push({ text: `data: ${JSON.stringify(last)}\n\n`, tokens: output });
  if (place === 'EmptyChoices')
    found.push({
      text: `data: ${JSON.stringify({ ...base, choices: [], usage: usageOf(answer) })}\n\n`,
      tokens: output,
    });
  if (knobs.done) found.push({ text: 'data: [DONE]\n\n', tokens: output });
  return found;
}

export const chat: Surface = {
  name: 'chat',
  idPrefix: '',
  read,
  plain,
  frames,
  errorFrame: (body) => `data: ${JSON.stringify(body)}\n\n`,
};
