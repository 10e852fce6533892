/** One inference request from its headers to its bill. */
import { admit, keyOf, type Admission, type Call, type Door } from './admission.ts';
import { billOf, charge } from './bill.ts';
import { compose } from './compose.ts';
import { sendPlain, sendStream, type Delivery, type Pace } from './delivery.ts';
import type { Exchange } from './exchange.ts';
import type { CallRecord, Ending } from './ledger.ts';
import { errorAnswer, errorBody, type Refusal, type RefusalContext } from './refusal.ts';
import type { Answer } from './surfaces/surface.ts';
import type { Vendor } from './vendor.ts';

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
    const { surface } = this.#door;
    const isInclusive = knobs.accounting.messagesInputIncludesCached;
    const delivery: Delivery = {
      exchange: this.#exchange,
      pace: this.#paceOf(call),
      fault: call.fault,
      knobs: knobs.stream,
      errorFrame: surface.errorFrame,
      errorBody: (error) => errorBody(error, this.#context()).body,
      onDelivered: (tokens) => {
        this.#delivered = tokens;
      },
    };
    if (call.ask.isStream) sendStream(delivery, surface.frames(answer, knobs.stream, isInclusive));
    else sendPlain(delivery, surface.plain(answer, knobs.stream, isInclusive), answer.usage.output);
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
    if (this.#exchange.isComplete) {
      return fault === 'StreamError' || fault === 'Truncated' ? 'Broken' : 'Completed';
    }
    const isOurs = fault === 'Reset' || fault === 'MidReset';
    return isOurs ? 'Broken' : 'ClientClosed';
  }

  #finish(call: Call | undefined, refusal: Refusal | undefined): void {
    const vendor = this.#vendor;
    const endMs = performance.now();
    const ending = this.#endingOf(call, refusal);
    const bill = billOf(vendor, call, { ending, answer: this.#answer, delivered: this.#delivered });
    if (call) {
      charge(vendor, call, bill);
      call.gauge.leave(call.flight, endMs, call.account.config.releaseLagMs ?? 0);
    }
    const { response, arrivedMs } = this.#exchange;
    const fault = call?.fault;
    vendor.ledger.record({
      id: this.#id,
      surface: this.#door.surface.name,
      ...this.#subjectOf(call),
      startMs: arrivedMs - vendor.startedMs,
      endMs: endMs - vendor.startedMs,
      status: response.headersSent ? response.statusCode : 0,
      code: refusal?.code ?? (fault?.type === 'Http' ? String(fault.status) : null),
      ending,
      ...bill,
    });
  }

  #subjectOf(
    call: Call | undefined,
  ): Pick<CallRecord, 'clientId' | 'account' | 'key' | 'requested' | 'model' | 'isStream' | 'atMs'> {
    if (call) {
      const { clientId, account, key, ask, routed, atMs } = call;
      const { model: requested, isStream } = ask;
      return { clientId, account: account.config.id, key, requested, model: routed, isStream, atMs };
    }
    const key = keyOf(this.#exchange) ?? '';
    const account = this.#vendor.accountOf(key)?.config.id ?? '';
    return {
      clientId: null,
      account,
      key,
      requested: '',
      model: '',
      isStream: false,
      atMs: this.#vendor.clock.nowMs(),
    };
  }
}
