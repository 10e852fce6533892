/** One inference request from its headers to its bill. */
import { admit, keyOf, type Admission, type Call, type Door } from './admission.ts';
import { compose } from './compose.ts';
import { sendPlain, sendStream, type Delivery, type Pace } from './delivery.ts';
import type { Exchange } from './exchange.ts';
import type { CallRecord, Ending } from './ledger.ts';
import { nanoCredits, nanoMoney, type Tokens } from './money.ts';
import { errorAnswer, errorBody, type Refusal, type RefusalContext } from './refusal.ts';
import type { Answer } from './surfaces/surface.ts';
import type { Vendor } from './vendor.ts';

const nothing: Tokens = { input: 0, cached: 0, output: 0, reasoning: 0 };

export async function serveInference(vendor: Vendor, door: Door, exchange: Exchange): Promise<void> {
  const raw = await exchange.readBody();
  if (raw === undefined) return;
  const admission = admit(vendor, door, exchange, raw);
  const id = door.surface.idPrefix + vendor.nextId(vendor.clock.nowMs());
  new Service(vendor, door, exchange, id).run(admission);
}

class Service {
  readonly #vendor: Vendor;
  readonly #door: Door;
  readonly #exchange: Exchange;
  readonly #id: string;
  /** Output tokens handed over; undefined until the first byte. */
  #delivered: number | undefined;
  #answer: Answer | undefined;

  constructor(vendor: Vendor, door: Door, exchange: Exchange, id: string) {
    this.#vendor = vendor;
    this.#door = door;
    this.#exchange = exchange;
    this.#id = id;
  }

  run({ call, refusal }: Admission): void {
    const exchange = this.#exchange;
    if (exchange.isClosed) {
      this.#finish(call, refusal);
      return;
    }
    exchange.onClose = () => this.#finish(call, refusal);
    if (refusal || !call) this.#refuse(refusal ?? { code: '500' });
    else if (call.fault?.type === 'Http') this.#fail(call.fault);
    else this.#serve(call);
  }

  #context(): RefusalContext {
    return {
      facts: this.#vendor.facts,
      knobs: this.#vendor.knobs.errors,
      surface: this.#door.surface.name,
      nowMs: this.#vendor.clock.nowMs(),
      requestId: this.#id,
      acceptLanguage: this.#exchange.header('accept-language'),
      hasBeta: this.#exchange.header('anthropic-beta') !== undefined,
    };
  }

  #refuse(refusal: Refusal): void {
    const { status, headers, body } = errorAnswer(refusal, this.#context());
    this.#exchange.send(status, headers, body);
  }

  #fail(fault: { status: number; body?: string; contentType?: string }): void {
    const headers = { 'content-type': fault.contentType ?? 'text/html' };
    this.#exchange.send(fault.status, headers, fault.body ?? `<html><body><h1>${fault.status}</h1></body></html>`);
  }

  #serve(call: Call): void {
    const { knobs } = this.#vendor;
    const answer = compose({
      ask: call.ask,
      directive: this.#directiveFor(call),
      knobs: knobs.answer,
      id: this.#id,
      nowMs: call.atMs,
      model: call.routed,
    });
    this.#answer = answer;
    const delivery: Delivery = {
      exchange: this.#exchange,
      pace: this.#paceOf(call),
      fault: call.fault,
      knobs: knobs.stream,
    };
    const { surface } = this.#door;
    const isInclusive = knobs.accounting.messagesInputIncludesCached;
    if (!call.ask.isStream) {
      sendPlain(delivery, surface.plain(answer, knobs.stream, isInclusive), () => {
        this.#delivered = answer.usage.output;
      });
      return;
    }
    sendStream(
      delivery,
      surface.frames(answer, knobs.stream, isInclusive),
      (code, message) =>
        surface.errorFrame(errorBody(message === undefined ? { code } : { code, message }, this.#context()).body),
      (tokens) => {
        this.#delivered = tokens;
      },
    );
  }

  #directiveFor({ directive, ask }: Call): Call['directive'] {
    const isUncached =
      this.#door.surface.name === 'messages' &&
      this.#vendor.knobs.accounting.messagesCacheNeedsMarker &&
      !ask.hasCacheMarker;
    return isUncached ? { ...directive, cached: 0 } : directive;
  }

  #paceOf({ directive }: Call): Pace {
    const { answer } = this.#vendor.knobs;
    const { holds } = this.#vendor;
    return {
      firstTokenMs: directive.ttft ?? answer.firstTokenMs,
      totalMs: directive.ms ?? answer.totalMs,
      ...(directive.hold === undefined ? {} : { gate: holds.wait(directive.hold) }),
      ...(directive.midhold === undefined ? {} : { midGate: holds.wait(directive.midhold) }),
    };
  }

  #endingOf(call: Call | undefined, refusal: Refusal | undefined): Ending {
    const fault = call?.fault?.type;
    if (refusal || fault === 'Http') return 'Refused';
    if (this.#exchange.response.writableFinished) {
      return fault === 'StreamError' || fault === 'Truncated' ? 'Broken' : 'Completed';
    }
    const isOurs = fault === 'Reset' || fault === 'MidReset';
    return isOurs ? 'Broken' : 'ClientClosed';
  }

  #billable(ending: Ending): Tokens {
    const usage = this.#answer?.usage;
    if (!usage || ending === 'Refused') return nothing;
    const full = {
      input: usage.prompt - usage.cached,
      cached: usage.cached,
      output: usage.output,
      reasoning: usage.reasoning,
    };
    const policy = ending === 'Completed' ? 'Full' : this.#vendor.knobs.accounting.billAborted;
    if (policy === 'Full') return full;
    if (policy === 'None' || this.#delivered === undefined) return nothing;
    return { ...full, output: this.#delivered, reasoning: Math.min(this.#delivered, usage.reasoning) };
  }

  #finish(call: Call | undefined, refusal: Refusal | undefined): void {
    const { ledger } = this.#vendor;
    const endMs = performance.now();
    const ending = this.#endingOf(call, refusal);
    const tokens = this.#billable(ending);
    const record = this.#record(call, refusal, tokens, ending, endMs);
    if (call) {
      this.#charge(call, record, ending);
      call.gauge.leave(call.flight, endMs, call.account.config.releaseLagMs ?? 0);
    }
    ledger.record(record);
  }

  /** Settles windows and balance; a call that produced nothing gives its prompt back. */
  #charge(call: Call, record: CallRecord, ending: Ending): void {
    const { account } = call;
    const nowMs = this.#vendor.clock.nowMs();
    const isFree = ending === 'Refused' || (ending !== 'Completed' && this.#delivered === undefined);
    if (isFree) record.nanoPrompts = 0;
    account.balanceNanoUsd -= this.#door.billings.includes('PayAsYouGo') ? record.nanoUsd : 0;
    if (call.spans.length === 0 || this.#door.billings.includes('PayAsYouGo')) return;
    const { chargeTo } = this.#vendor.knobs.accounting;
    for (const [index, window] of account.windows.entries()) {
      const span = call.spans[index] ?? 0;
      if (window.config.resource === 'Prompts') {
        if (isFree) window.chargeSpan(span, nowMs, -call.nanoPrompts);
      } else if (record.nanoCredits > 0) {
        if (chargeTo === 'Arrival') window.chargeSpan(span, nowMs, record.nanoCredits);
        else window.charge(nowMs, record.nanoCredits);
      }
    }
  }

  #record(
    call: Call | undefined,
    refusal: Refusal | undefined,
    tokens: Tokens,
    ending: Ending,
    endMs: number,
  ): CallRecord {
    const { facts, startedMs, clock } = this.#vendor;
    const exchange = this.#exchange;
    const model = call?.routed ?? '';
    const atMs = call?.atMs ?? clock.nowMs();
    const isPlan = !this.#door.billings.includes('PayAsYouGo');
    return {
      id: this.#id,
      clientId: call?.clientId ?? null,
      account: call?.account.config.id ?? '',
      key: call?.key ?? keyOf(exchange) ?? '',
      surface: this.#door.surface.name,
      requested: call?.ask.model ?? '',
      model,
      isStream: call?.ask.isStream ?? false,
      atMs,
      startMs: exchange.arrivedMs - startedMs,
      endMs: endMs - startedMs,
      status: exchange.response.headersSent ? exchange.response.statusCode : 0,
      code: refusal?.code ?? (call?.fault?.type === 'Http' ? String(call.fault.status) : null),
      ending,
      tokens,
      nanoCredits: isPlan ? nanoCredits(facts, model, tokens, atMs) : 0,
      nanoPrompts: call?.nanoPrompts ?? 0,
      nanoUsd: nanoMoney(facts, model, tokens, 'usd'),
      nanoCny: nanoMoney(facts, model, tokens, 'cny'),
    };
  }
}
