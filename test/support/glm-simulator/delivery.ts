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
}

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
  if (await exchange.pause(fault.forMs ?? 2 ** 31 - 1)) exchange.reset();
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

/** A whole answer in one body. `onDelivered` hears when all of it was handed over. */
export function sendPlain(delivery: Delivery, answer: object, onDelivered: () => void): void {
  const body = JSON.stringify(answer);
  if (!isPlainSailing(delivery)) {
    void sendPlainSlowly(delivery, Buffer.from(body), onDelivered);
    return;
  }
  onDelivered();
  delivery.exchange.send(200, JSON_HEADERS, body);
}

async function sendPlainSlowly(delivery: Delivery, body: Buffer, onDelivered: () => void): Promise<void> {
  const { exchange, pace, fault } = delivery;
  if (!(await passGate(delivery, pace.gate)) || (await breakEarly(delivery))) return;
  if (!(await exchange.pause(Math.max(pace.totalMs, pace.firstTokenMs)))) return;
  if (fault?.type === 'MidReset') return await sendHalf(exchange, body, RESET_AFTER_MS);
  if (fault?.type === 'MidSilence') return await sendHalf(exchange, body, fault.forMs ?? 2 ** 31 - 1);
  if (fault?.type === 'Truncated') return exchange.send(200, JSON_HEADERS, body.toString('utf8', 0, body.length >> 1));
  onDelivered();
  if (fault?.type !== 'Drip') return exchange.send(200, JSON_HEADERS, body.toString());
  exchange.response.writeHead(200, { ...JSON_HEADERS, 'content-length': body.length });
  if (await drip(exchange, body, fault)) exchange.response.end();
}

/** Time given to the peer to read what came before a reset, which would discard it. */
const RESET_AFTER_MS = 20;

/** A stream of frames. `onFrame` hears the output tokens handed over so far. */
export function sendStream(
  delivery: Delivery,
  frames: Frame[],
  errorFrame: (code: string, message?: string) => string,
  onFrame: (tokens: number) => void,
): void {
  const { knobs } = delivery;
  if (!isPlainSailing(delivery) || knobs.framing !== 'Whole') {
    void new SlowStream(delivery, frames, errorFrame, onFrame).run();
    return;
  }
  let all = '';
  for (const frame of frames) all += dress(frame.text, knobs);
  onFrame(frames.at(-1)?.tokens ?? 0);
  delivery.exchange.response.writeHead(200, STREAM_HEADERS);
  delivery.exchange.response.end(all);
}

function dress(text: string, knobs: StreamKnobs): string {
  const commented = knobs.comments ? `: keep-alive\n\n${text}` : text;
  return knobs.lineEnd === 'CRLF' ? commented.replaceAll('\n', '\r\n') : commented;
}

class SlowStream {
  readonly #delivery: Delivery;
  readonly #frames: Frame[];
  readonly #errorFrame: (code: string, message?: string) => string;
  readonly #onFrame: (tokens: number) => void;

  constructor(
    delivery: Delivery,
    frames: Frame[],
    errorFrame: (code: string, message?: string) => string,
    onFrame: (tokens: number) => void,
  ) {
    this.#delivery = delivery;
    this.#frames = frames;
    this.#errorFrame = errorFrame;
    this.#onFrame = onFrame;
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
      if (await this.#breakAt(index)) return;
      const dueMs = startMs + pace.firstTokenMs + step * index;
      if (step > 0 && !(await exchange.pause(dueMs - performance.now()))) return;
      if (!(await this.#send(frame, index))) return;
      if (index === 0 && !(await passGate(this.#delivery, pace.midGate))) return;
    }
    exchange.response.end();
  }

  /** Faults due before frame `index`; true when the stream is over. */
  async #breakAt(index: number): Promise<boolean> {
    const { exchange, fault } = this.#delivery;
    if (fault === undefined || !('afterFrames' in fault || fault.type.startsWith('Mid') || BREAKS.has(fault.type)))
      return false;
    const after = 'afterFrames' in fault ? (fault.afterFrames ?? 0) : fault.type === 'StreamError' ? 0 : 1;
    if (index !== after) return false;
    if (fault.type === 'StreamError') {
      await exchange.write(this.#errorFrame(fault.code, fault.message));
      exchange.response.end();
    } else if (fault.type === 'Truncated') {
      exchange.response.end('data: {"id":"');
    } else {
      const silentMs = fault.type === 'MidSilence' ? (fault.forMs ?? 2 ** 31 - 1) : RESET_AFTER_MS;
      if (await exchange.pause(silentMs)) exchange.reset();
    }
    return true;
  }

  async #send(frame: Frame, index: number): Promise<boolean> {
    const { exchange, fault, knobs } = this.#delivery;
    const text = dress(frame.text, knobs);
    this.#onFrame(frame.tokens);
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

const BREAKS = new Set(['StreamError', 'Truncated']);
