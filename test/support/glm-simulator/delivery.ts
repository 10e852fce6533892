/** Sends an answer: paced, framed and broken as asked. */
import type { Exchange } from './exchange.ts';
import type { Frame } from './surfaces/surface.ts';
import type { FaultAction, StreamKnobs } from './terms.ts';

export interface Pace {
  firstTokenMs: number;
  totalMs: number;
  /** Waited for before the first byte. */
  gate?: Promise<void>;
  /** Waited for after the first frame. */
  midGate?: Promise<void>;
}

export interface Delivery {
  exchange: Exchange;
  pace: Pace;
  fault: FaultAction | undefined;
  knobs: StreamKnobs;
  /** An error in the surface's shape, and the frame that carries it. */
  errorBody: (error: { code: string; message?: string }) => object;
  errorFrame: (body: object) => string;
  /** Hears the output tokens handed over so far. */
  onDelivered: (tokens: number) => void;
}

/** Time given to the peer to read what came before a reset, which would discard it. */
const RESET_AFTER_MS = 20;
const FOREVER_MS = 2 ** 31 - 1;

const JSON_HEADERS = { 'content-type': 'application/json; charset=UTF-8' };
const STREAM_HEADERS = { 'content-type': 'text/event-stream;charset=UTF-8', 'cache-control': 'no-cache' };

const isPlainSailing = ({ pace, fault }: Delivery): boolean =>
  fault === undefined && pace.totalMs <= 0 && pace.firstTokenMs <= 0 && !pace.gate && !pace.midGate;

/** Faults before the first byte; true when the call is over. */
async function breakEarly({ exchange, fault }: Delivery): Promise<boolean> {
  if (fault?.type === 'Delay') return !(await exchange.pause(fault.ms));
  if (fault?.type === 'Reset') {
    if (await exchange.pause(fault.afterMs ?? 0)) exchange.reset();
    return true;
  }
  if (fault?.type !== 'Silence') return false;
  if (await exchange.pause(fault.forMs ?? FOREVER_MS)) exchange.reset();
  return true;
}

async function passGate({ exchange }: Delivery, gate: Promise<void> | undefined): Promise<boolean> {
  return gate ? await exchange.pauseUntil(gate) : true;
}

/** Half of a plain answer with the full length announced, then nothing more. */
async function sendHalf(exchange: Exchange, body: Buffer, silentMs: number): Promise<void> {
  exchange.response.writeHead(200, { ...JSON_HEADERS, 'content-length': body.length });
  await exchange.write(body.subarray(0, body.length >> 1));
  if (await exchange.pause(silentMs)) exchange.reset();
}

async function drip(exchange: Exchange, data: Buffer, fault: { bytes: number; everyMs: number }): Promise<boolean> {
  for (let at = 0; at < data.length; at += fault.bytes) {
    if (!(await exchange.write(data.subarray(at, at + fault.bytes)))) return false;
    if (!(await exchange.pause(fault.everyMs))) return false;
  }
  return true;
}

/** A whole answer in one body, worth `tokens` of output. */
export function sendPlain(delivery: Delivery, answer: object, tokens: number): void {
  const body = JSON.stringify(answer);
  if (!isPlainSailing(delivery)) {
    void sendPlainSlowly(delivery, Buffer.from(body), tokens);
    return;
  }
  delivery.onDelivered(tokens);
  delivery.exchange.send(200, JSON_HEADERS, body);
}

async function sendPlainSlowly(delivery: Delivery, body: Buffer, tokens: number): Promise<void> {
  const { exchange, pace, fault, onDelivered } = delivery;
  if (!(await passGate(delivery, pace.gate)) || (await breakEarly(delivery))) return;
  if (!(await exchange.pause(Math.max(pace.totalMs, pace.firstTokenMs)))) return;
  if (await breakPlain(delivery, body)) return;
  onDelivered(tokens);
  if (fault?.type !== 'Drip') return exchange.send(200, JSON_HEADERS, body);
  exchange.response.writeHead(200, { ...JSON_HEADERS, 'content-length': body.length });
  if (await drip(exchange, body, fault)) exchange.end();
}

/** Faults that spoil a plain answer; true when the call is over. */
async function breakPlain({ exchange, fault, errorBody }: Delivery, body: Buffer): Promise<boolean> {
  switch (fault?.type) {
    case 'MidReset':
      await sendHalf(exchange, body, RESET_AFTER_MS);
      return true;
    case 'MidSilence':
      await sendHalf(exchange, body, fault.forMs ?? FOREVER_MS);
      return true;
    case 'Truncated':
      exchange.send(200, JSON_HEADERS, body.subarray(0, body.length >> 1));
      return true;
    case 'StreamError':
      exchange.send(200, JSON_HEADERS, JSON.stringify(errorBody(fault)));
      return true;
    default:
      return false;
  }
}

/** A stream of frames. */
export function sendStream(delivery: Delivery, frames: Frame[]): void {
  const { knobs } = delivery;
  if (!isPlainSailing(delivery) || knobs.framing !== 'Whole') {
    void new SlowStream(delivery, frames).run();
    return;
  }
  let all = '';
  for (const frame of frames) all += dress(frame.text, knobs);
  delivery.onDelivered(frames.at(-1)?.tokens ?? 0);
  delivery.exchange.response.writeHead(200, STREAM_HEADERS);
  delivery.exchange.end(all);
}

function dress(text: string, knobs: StreamKnobs): string {
  const commented = knobs.comments ? `: keep-alive\n\n${text}` : text;
  return knobs.lineEnd === 'CRLF' ? commented.replaceAll('\n', '\r\n') : commented;
}

class SlowStream {
  readonly #delivery: Delivery;
  readonly #frames: Frame[];
  /** Frame before which the fault strikes. */
  readonly #breakAt: number | undefined;

  constructor(delivery: Delivery, frames: Frame[]) {
    this.#delivery = delivery;
    this.#frames = frames;
    this.#breakAt = breakPoint(delivery.fault);
  }

  async run(): Promise<void> {
    const { exchange, pace } = this.#delivery;
    if (!(await passGate(this.#delivery, pace.gate)) || (await breakEarly(this.#delivery))) return;
    const startMs = performance.now();
    if (!(await exchange.pause(pace.firstTokenMs))) return;
    exchange.response.writeHead(200, STREAM_HEADERS);
    exchange.response.flushHeaders();
    const step = Math.max(0, pace.totalMs - pace.firstTokenMs) / Math.max(1, this.#frames.length - 1);
    for (const [index, frame] of this.#frames.entries()) {
      if (index === this.#breakAt) return await this.#break();
      const dueMs = startMs + pace.firstTokenMs + step * index;
      if (step > 0 && !(await exchange.pause(dueMs - performance.now()))) return;
      if (!(await this.#send(frame, index))) return;
      if (index === 0 && !(await passGate(this.#delivery, pace.midGate))) return;
    }
    exchange.end();
  }

  async #break(): Promise<void> {
    const { exchange, fault, errorBody, errorFrame } = this.#delivery;
    if (fault?.type === 'StreamError') {
      await exchange.write(errorFrame(errorBody(fault)));
      exchange.end();
    } else if (fault?.type === 'Truncated') {
      exchange.end('data: {"id":"');
    } else {
      const silentMs = fault?.type === 'MidSilence' ? (fault.forMs ?? FOREVER_MS) : RESET_AFTER_MS;
      if (await exchange.pause(silentMs)) exchange.reset();
    }
  }

  async #send(frame: Frame, index: number): Promise<boolean> {
    const { exchange, fault, knobs } = this.#delivery;
    const text = dress(frame.text, knobs);
    this.#delivery.onDelivered(frame.tokens);
    if (fault?.type === 'Drip') return await drip(exchange, Buffer.from(text), fault);
    if (knobs.framing === 'Cut') return await this.#sendCut(Buffer.from(text));
    if (knobs.framing !== 'Glued') return await exchange.write(text);
    // Three frames leave together: they are corked until the third, or the last.
    const { response } = exchange;
    if (index % 3 === 0) response.cork();
    response.write(text);
    if (index % 3 === 2) response.uncork();
    return !exchange.isClosed;
  }

  async #sendCut(data: Buffer): Promise<boolean> {
    const { exchange } = this.#delivery;
    for (let at = 0; at < data.length; at += 37) {
      if (!(await exchange.write(data.subarray(at, at + 37)))) return false;
      if (!(await exchange.pause(1))) return false;
    }
    return true;
  }
}

function breakPoint(fault: FaultAction | undefined): number | undefined {
  switch (fault?.type) {
    case 'StreamError':
      return fault.afterFrames ?? 0;
    case 'MidReset':
    case 'MidSilence':
    case 'Truncated':
      return fault.afterFrames ?? 1;
    default:
      return undefined;
  }
}
