/** What a response tells about its call, collected from the bytes on their way to the client. */
import type { TokenUsage } from '../leases/terms.ts';
import { reportedError, type ReportedError } from './errors.ts';
import { finishReasons, framesOf, hasContent, isLast, mayMatter, textIn } from './frames.ts';
import { SseSplitter, type SseFrame } from './sse.ts';
import { isJsonObject, parseJson, type JsonObject, type Surface } from './terms.ts';
import { mergeUsage, NO_USAGE, reportedUsage, tokenUsage, type InputStyle, type ReportedUsage } from './usage.ts';

export interface ResponseFacts {
  /** Null: the vendor reported none, or the response was cut before it did. */
  readonly usage: TokenUsage | null;
  /** Some of the usage came with or after output: it is no mere announcement, as at the start of a stream. */
  readonly usageIsFinal: boolean;
  /** The model that answered; prices follow from it. Null: not named. */
  readonly model: string | null;
  /** The first error in the body or stream. */
  readonly error: ReportedError | null;
  /** The vendor gave up in the middle (`finish_reason: network_error`). */
  readonly broke: boolean;
  /** Some of the model's output was there. */
  readonly contentSeen: boolean;
  /** The response says itself that it is whole: a JSON body, or the stream's last frame. */
  readonly complete: boolean;
  /** Data frames of a stream, and bytes of their data (of the body, if it is no stream): for estimates. */
  readonly frames: number;
  readonly dataBytes: number;
}

export interface ResponseReader {
  /** Takes the next bytes of the decoded body (no content encoding); never fails. */
  push(chunk: Uint8Array): void;
  /** Whether a stream's last frame has passed: nothing the client could miss comes after it. */
  readonly sawLastFrame: boolean;
  /** Ends the body, whole or cut, and tells what was in it. */
  end(): ResponseFacts;
}

export interface ReaderOptions {
  readonly surface: Surface;
  /** The response's `content-type`; a stream is read as such, all else as JSON. */
  readonly contentType: string | null;
  readonly inputStyle?: InputStyle;
}

/** A longer body that is no stream is not read; its usage is then estimated. */
export const MAX_JSON_BYTES = 32 * 1024 * 1024;

export function createResponseReader(options: ReaderOptions): ResponseReader {
  const streams = /^\s*text\/event-stream\b/i.test(options.contentType ?? '');
  return streams ? new StreamReader(options) : new BodyReader(options);
}

/** Gathers facts from one parsed object after the other. */
class FactSheet {
  readonly #options: ReaderOptions;
  #reported: ReportedUsage = NO_USAGE;
  model: string | null = null;
  error: ReportedError | null = null;
  broke = false;
  contentSeen = false;
  #usageIsFinal = false;

  constructor(options: ReaderOptions) {
    this.#options = options;
  }

  take(json: JsonObject): void {
    const { surface } = this.#options;
    const reported = reportedUsage(json, surface);
    this.#reported = mergeUsage(this.#reported, reported);
    this.model ??= textIn(json, 'model');
    this.error ??= reportedError(json);
    this.broke ||= finishReasons(json).includes('network_error');
    this.contentSeen ||= hasContent(json, surface);
    this.#usageIsFinal ||= this.contentSeen && reported.output !== null;
  }

  facts(rest: Pick<ResponseFacts, 'complete' | 'frames' | 'dataBytes'>): ResponseFacts {
    const { surface, inputStyle = 'Exclusive' } = this.#options;
    const { model, error, broke, contentSeen } = this;
    const usage = tokenUsage(this.#reported, surface, inputStyle);
    return { usage, usageIsFinal: this.#usageIsFinal, model, error, broke, contentSeen, ...rest };
  }
}

class StreamReader implements ResponseReader {
  readonly #surface: Surface;
  readonly #sheet: FactSheet;
  readonly #splitter = new SseSplitter((frame) => this.#takeFrame(frame));
  #complete = false;
  #frames = 0;
  #dataBytes = 0;

  constructor(options: ReaderOptions) {
    this.#surface = options.surface;
    this.#sheet = new FactSheet(options);
  }

  get sawLastFrame(): boolean {
    return this.#complete;
  }

  push(chunk: Uint8Array): void {
    this.#splitter.push(chunk);
  }

  end(): ResponseFacts {
    this.#splitter.end();
    return this.#sheet.facts({ complete: this.#complete, frames: this.#frames, dataBytes: this.#dataBytes });
  }

  #takeFrame({ data }: SseFrame): void {
    this.#frames++;
    this.#dataBytes += data.length;
    if (!this.#matters(data)) return;
    for (const piece of framesOf(data.toString('utf8'))) {
      this.#complete ||= isLast(piece, this.#surface);
      if (isJsonObject(piece)) this.#sheet.take(piece);
    }
  }

  /** Frames are parsed until the first content, and those that may hold more than the next word. */
  #matters(data: Buffer): boolean {
    if (this.#sheet.model === null || !this.#sheet.contentSeen) return true;
    return mayMatter(data);
  }
}

class BodyReader implements ResponseReader {
  readonly sawLastFrame = false;
  readonly #sheet: FactSheet;
  #chunks: Buffer[] = [];
  #bytes = 0;

  constructor(options: ReaderOptions) {
    this.#sheet = new FactSheet(options);
  }

  push(chunk: Uint8Array): void {
    this.#bytes += chunk.length;
    if (this.#bytes <= MAX_JSON_BYTES) this.#chunks.push(Buffer.from(chunk));
    else this.#chunks = [];
  }

  end(): ResponseFacts {
    const json = parseJson(Buffer.concat(this.#chunks).toString('utf8'));
    this.#chunks = [];
    if (isJsonObject(json)) this.#sheet.take(json);
    return this.#sheet.facts({ complete: isJsonObject(json), frames: 0, dataBytes: this.#bytes });
  }
}
