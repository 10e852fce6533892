import Anthropic from '@anthropic-ai/sdk';
import OpenAI from 'openai';
import { SimulatorControl } from '#test/support/glm-simulator/control.ts';
import { startSimulator, type Simulator } from '#test/support/glm-simulator/simulator.ts';
import type { AccountConfig, SimulatorConfig } from '#test/support/glm-simulator/terms.ts';

export const KEY = 'key-id.key-secret';

/** 2026-11-17, a Tuesday, 12:00 UTC: off-peak, no promotion. */
export const OFF_PEAK_MS = Date.UTC(2026, 10, 17, 12);
/** The same day, 07:00 UTC: peak. */
export const PEAK_MS = Date.UTC(2026, 10, 17, 7);

/** A simulator with one account and what talks to it. */
export class Fixture implements AsyncDisposable {
  readonly simulator: Simulator;
  readonly control: SimulatorControl;

  constructor(simulator: Simulator) {
    this.simulator = simulator;
    this.control = new SimulatorControl(simulator.controlUrl);
  }

  static async start(account: Partial<AccountConfig> = {}, config: SimulatorConfig = {}): Promise<Fixture> {
    const accounts = [{ id: 'a', keys: [KEY], ...account }];
    const clock = { mode: 'Manual', nowMs: OFF_PEAK_MS } as const;
    return new Fixture(await startSimulator({ config: { clock, accounts, ...config } }));
  }

  openai(path = '/api/coding/paas/v4', apiKey = KEY): OpenAI {
    return new OpenAI({ baseURL: this.simulator.url + path, apiKey, maxRetries: 0 });
  }

  anthropic(apiKey = KEY): Anthropic {
    return new Anthropic({ baseURL: `${this.simulator.url}/api/anthropic`, apiKey, authToken: null, maxRetries: 0 });
  }

  /** One chat call as raw HTTP. */
  async post(path: string, body: object | string, headers: Record<string, string> = {}): Promise<Response> {
    return await fetch(this.simulator.url + path, {
      method: 'POST',
      headers: { authorization: `Bearer ${KEY}`, 'content-type': 'application/json', ...headers },
      body: typeof body === 'string' ? body : JSON.stringify(body),
    });
  }

  async chat(text = 'hi', more: object = {}): Promise<Response> {
    return await this.post('/api/coding/paas/v4/chat/completions', question(text, more));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.simulator.close();
  }
}

export function question(text = 'hi', more: object = {}): object {
  return { model: 'glm-5.3', messages: [{ role: 'user', content: text }], ...more };
}

/** Code in an error body of the chat surface. */
export async function codeOf(response: Response): Promise<string | undefined> {
  const body = (await response.json()) as { error?: { code?: string } };
  return body.error?.code;
}

/** The objects of a stream's `data:` lines. */
export function dataOf(text: string): Record<string, unknown>[] {
  return text
    .split(/\r?\n/)
    .filter((line) => line.startsWith('data: {'))
    .map((line) => JSON.parse(line.slice('data: '.length)) as Record<string, unknown>);
}

export async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const item of items) found.push(item);
  return found;
}
