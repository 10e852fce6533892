/**
 * The demo's agent: calls the model in a loop with an official SDK, streaming, and prints one JSON line a call.
 * It knows nothing of glmquota: where it calls and with what key comes from the SDKs' own environment variables.
 */
import Anthropic from '@anthropic-ai/sdk';
import OpenAI from 'openai';
import { setTimeout as sleep } from 'node:timers/promises';

export interface CallLine {
  readonly client: string;
  readonly result: 'granted' | 'refusedByUs' | 'refusedByVendor' | 'failed';
  readonly status: number;
  /** Node and limit that refused, as the sidecar names them. */
  readonly deniedBy: string | null;
  readonly retryAt: string | null;
  readonly tokens: number;
  readonly message: string | null;
}

const client = process.env['DEMO_CLIENT'] ?? 'openai';
const model = process.env['DEMO_MODEL'] ?? 'glm-5.3';
const prompt = process.env['DEMO_PROMPT'] ?? 'Say something short.';
const parallel = Number(process.env['DEMO_PARALLEL'] ?? '1');
const pauseMs = Number(process.env['DEMO_PAUSE_MS'] ?? '100');

const stop = new AbortController();
process.once('SIGTERM', () => stop.abort());
process.once('SIGINT', () => stop.abort());

async function callOpenAi(): Promise<number> {
  const sdk = new OpenAI({ maxRetries: 0 });
  const stream = await sdk.chat.completions.create(
    { model, stream: true, max_tokens: 64, messages: [{ role: 'user', content: prompt }] },
    { signal: stop.signal },
  );
  let tokens = 0;
  for await (const chunk of stream) tokens = chunk.usage?.total_tokens ?? tokens;
  return tokens;
}

async function callAnthropic(): Promise<number> {
  const sdk = new Anthropic({ maxRetries: 0 });
  const stream = sdk.messages.stream(
    { model, max_tokens: 64, messages: [{ role: 'user', content: prompt }] },
    { signal: stop.signal },
  );
  const { usage } = await stream.finalMessage();
  return usage.input_tokens + usage.output_tokens + (usage.cache_read_input_tokens ?? 0);
}

function lineOf(reason: unknown): CallLine {
  const failure = reason as { status?: number; headers?: Headers; message?: string };
  const status = failure.status ?? 0;
  const deniedBy = failure.headers?.get('x-glmquota-denied-by') ?? null;
  const ours = deniedBy !== null || status === 503;
  const refused = status === 429 || status === 529 || status === 503;
  return {
    client,
    result: refused ? (ours ? 'refusedByUs' : 'refusedByVendor') : 'failed',
    status,
    deniedBy,
    retryAt: failure.headers?.get('x-glmquota-retry-at') ?? null,
    tokens: 0,
    message: (failure.message ?? String(reason)).slice(0, 200),
  };
}

async function once(): Promise<void> {
  let line: CallLine;
  try {
    const tokens = await (client === 'anthropic' ? callAnthropic() : callOpenAi());
    line = { client, result: 'granted', status: 200, deniedBy: null, retryAt: null, tokens, message: null };
  } catch (reason) {
    if (stop.signal.aborted) return;
    line = lineOf(reason);
  }
  console.log(JSON.stringify(line));
  // An impatient agent: this is what makes retry storms where nobody holds the calls back.
  await sleep(line.result === 'granted' ? pauseMs : pauseMs * 2, undefined, { signal: stop.signal }).catch(
    () => undefined,
  );
}

async function loop(): Promise<void> {
  while (!stop.signal.aborted) await once();
}

await Promise.all(Array.from({ length: parallel }, () => loop()));
