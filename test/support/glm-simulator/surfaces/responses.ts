/** `/api/v1/responses`: OpenAI's Responses API as far as coding agents need it. */
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

function forcedTool({ tool_choice: choice, tools }: Fields): string | undefined {
  if (isFields(choice) && typeof choice['name'] === 'string') return choice['name'];
  const [first] = Array.isArray(tools) ? tools : [];
  const name = isFields(first) ? first['name'] : undefined;
  return choice === 'required' && typeof name === 'string' ? name : undefined;
}

function isUserTurn(input: unknown): boolean {
  if (!Array.isArray(input)) return true;
  const last: unknown = input.at(-1);
  return isFields(last) && last['role'] === 'user';
}

function read(body: Fields): Ask | { refuse: string } {
  const { model, input, instructions } = body;
  if (typeof model !== 'string' || model === '') return { refuse: '1213' };
  if (typeof input !== 'string' && !(Array.isArray(input) && input.length > 0)) return { refuse: '1214' };
  return {
    model,
    isStream: body['stream'] === true,
    promptTokens: tokensOf(textLength(input) + textLength(instructions)),
    maxTokens: positiveInteger(body['max_output_tokens']),
    forcedTool: forcedTool(body),
    isUserTurn: isUserTurn(input),
    thinkingDisabled: false,
    hasCacheMarker: false,
    includeUsage: false,
    toolStream: true,
  };
}

function outputOf({ id, text, reasoning, tool }: Answer): Fields[] {
  const items: Fields[] = [];
  if (reasoning.length > 0) {
    const summary = [{ type: 'summary_text', text: reasoning.join('') }];
    items.push({ type: 'reasoning', id: `rs_${id}`, summary });
  }
  if (text.length > 0) {
    const content = [{ type: 'output_text', text: text.join(''), annotations: [] }];
    items.push({ type: 'message', id: `msg_${id}`, role: 'assistant', status: 'completed', content });
  }
  if (tool) {
    const call = { call_id: tool.id, name: tool.name, arguments: tool.arguments };
    items.push({ type: 'function_call', id: `fc_${id}`, status: 'completed', ...call });
  }
  return items;
}

function plain(answer: Answer): Fields {
  const { usage } = answer;
  const isCut = answer.finish === 'length';
  return {
    id: answer.id,
    object: 'response',
    created_at: Math.floor(answer.createdMs / 1000),
    model: answer.model,
    status: isCut ? 'incomplete' : 'completed',
    incomplete_details: isCut ? { reason: 'max_output_tokens' } : null,
    error: null,
    output: outputOf(answer),
    usage: {
      input_tokens: usage.prompt,
      input_tokens_details: { cached_tokens: usage.cached },
      output_tokens: usage.output,
      output_tokens_details: { reasoning_tokens: usage.reasoning },
      total_tokens: usage.prompt + usage.output,
    },
  };
}

/** What an item sends between its `added` and its `done`. */
function itemEvents(item: Fields, answer: Answer, at: { output_index: number; item_id: unknown }): [string, Fields][] {
  if (item['type'] === 'function_call') {
    const whole = { ...at, arguments: item['arguments'] };
    return [
      ['response.function_call_arguments.delta', { ...at, delta: item['arguments'] }],
      ['response.function_call_arguments.done', whole],
    ];
  }
  const isMessage = item['type'] === 'message';
  const name = isMessage ? 'response.output_text' : 'response.reasoning_summary_text';
  const place = { ...at, ...(isMessage ? { content_index: 0 } : { summary_index: 0 }) };
  const pieces = isMessage ? answer.text : answer.reasoning;
  const part = { type: 'output_text', text: '', annotations: [] };
  const events = pieces.map((delta): [string, Fields] => [`${name}.delta`, { ...place, delta }]);
  if (isMessage) events.unshift(['response.content_part.added', { ...place, part }]);
  events.push([`${name}.done`, { ...place, text: pieces.join('') }]);
  if (isMessage) events.push(['response.content_part.done', { ...place, part: { ...part, text: pieces.join('') } }]);
  return events;
}

function frames(answer: Answer): Frame[] {
  const whole = plain(answer);
  const running = { ...whole, status: 'in_progress', output: [], usage: null, incomplete_details: null };
  const events: [string, Fields][] = [
    ['response.created', { response: running }],
    ['response.in_progress', { response: running }],
  ];
  for (const [index, item] of outputOf(answer).entries()) {
    const at = { output_index: index, item_id: item['id'] };
    const opened = { ...item, status: 'in_progress', ...('content' in item ? { content: [] } : {}) };
    events.push(['response.output_item.added', { output_index: index, item: opened }]);
    events.push(...itemEvents(item, answer, at));
    events.push(['response.output_item.done', { output_index: index, item }]);
  }
  const last = answer.finish === 'length' ? 'response.incomplete' : 'response.completed';
  events.push([last, { response: whole }]);
  const { output } = answer.usage;
  return events.map(([type, body], sequence_number) => ({
    text: namedEvent(type, { type, sequence_number, ...body }),
    tokens: Math.floor((output * (sequence_number + 1)) / events.length),
  }));
}

export const responses: Surface = {
  name: 'responses',
  idPrefix: 'resp_',
  read,
  plain: (answer: Answer, _knobs: StreamKnobs) => plain(answer),
  frames: (answer: Answer, _knobs: StreamKnobs) => frames(answer),
  errorFrame: (body) => namedEvent('error', { type: 'error', ...body }),
};
