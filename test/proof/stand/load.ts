/** Callers: closed loops and bursts through the sidecars, each call told by the vendor's book under the id it was sent with. */
import { setTimeout as delay } from 'node:timers/promises';
import { Agent, request } from 'undici';
import type { Sidecar } from './sidecar.ts';

export const CHAT = '/api/coding/paas/v4/chat/completions';
export const MODEL = 'glm-5.3';

/** One call as its caller saw it. */
export interface Seen {
  readonly id: string;
  /** 0: the sidecar could not be reached, or broke off. */
  readonly status: number;
  /** What the vendor or we refused it for: the vendor's code, or node and limit. */
  readonly refusal: string | null;
  readonly startMs: number;
  readonly endMs: number;
}

export interface CallOptions {
  /** `[[sim …]]`: what the vendor does with it. */
  readonly text?: string;
  readonly stream?: boolean;
  readonly model?: string;
  readonly maxTokens?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
}

export interface LoopOptions extends CallOptions {
  readonly callers: number;
  /** Default: all that there are. */
  readonly through?: () => readonly Sidecar[];
  /** What each call asks for besides. Default: all the same. */
  readonly next?: () => CallOptions;
  /** Between a refusal and the next try of the same caller. Default: 50 to 150 ms. */
  readonly restMs?: () => number;
}

const agent = new Agent({
  connections: null,
  pipelining: 1,
  headersTimeout: 0,
  bodyTimeout: 0,
  keepAliveTimeout: 1000,
});
let calls = 0;

/** Never fails: what went wrong is its status. */
export async function call(origin: string, options: CallOptions = {}): Promise<Seen> {
  const { text = '', stream = false, model = MODEL, maxTokens = 64, headers = {}, signal } = options;
  const id = `call-${process.pid}-${(calls += 1)}`;
  const startMs = performance.now();
  const body = JSON.stringify({
    model,
    stream,
    max_tokens: maxTokens,
    messages: [{ role: 'user', content: `Why does it fail? ${id} ${text}` }],
  });
  const sent = { 'content-type': 'application/json', 'x-request-id': id, ...headers };
  const ended = (status: number, refusal: string | null): Seen => ({
    id,
    status,
    refusal,
    startMs,
    endMs: performance.now(),
  });
  try {
    const answer = await request(origin + CHAT, {
      method: 'POST',
      headers: sent,
      body,
      dispatcher: agent,
      ...(signal ? { signal } : {}),
    });
    const given = await answer.body.text();
    return ended(answer.statusCode, answer.statusCode === 200 ? null : refusalOf(answer.headers, given));
  } catch (error) {
    return ended(0, error instanceof Error ? error.message : String(error));
  }
}

function refusalOf(headers: Record<string, string | string[] | undefined>, body: string): string {
  const ours = headers['x-glmquota-denied-by'];
  if (ours !== undefined) return String(ours);
  return /"code"\s*:\s*"?([\w-]+)/.exec(body)?.[1] ?? body.slice(0, 200);
}

/** Callers that send their next call when the last one has ended; caller k uses sidecar k mod n. */
export class Load {
  readonly seen: Seen[] = [];
  readonly #stop = new AbortController();
  readonly #callers: Promise<void>[];

  constructor(all: () => readonly Sidecar[], options: LoopOptions) {
    const { callers, through = all } = options;
    this.#callers = Array.from({ length: callers }, (_, index) => this.#loop(through, index, options));
  }

  count(status: number): number {
    return this.seen.filter((each) => each.status === status).length;
  }

  /** No new calls; resolves once the running ones have ended. */
  async end(): Promise<void> {
    this.#stop.abort();
    await Promise.all(this.#callers);
  }

  async #loop(through: () => readonly Sidecar[], index: number, options: LoopOptions): Promise<void> {
    const { restMs = () => 50 + Math.random() * 100, next = () => ({}) } = options;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      const sidecars = through();
      const seen = await call(sidecars[index % sidecars.length]?.origin ?? '', { ...options, ...next() });
      this.seen.push(seen);
      if (seen.status !== 200) await delay(restMs(), undefined, { signal }).catch(() => undefined);
    }
  }
}
