/** Whether the vendor takes a call: the same checks in the same order on every surface. */
import type { Account } from './account.ts';
import { readDirective, type Directive } from './directive.ts';
import type { Exchange } from './exchange.ts';
import type { Flight, Gauge } from './gauge.ts';
import { nanoPrompts } from './money.ts';
import type { Refusal } from './refusal.ts';
import { isFields, type Ask, type Surface } from './surfaces/surface.ts';
import type { Billing, FaultAction } from './terms.ts';
import type { Vendor } from './vendor.ts';
import type { UsageWindow } from './windows.ts';

/** A call whose account and model are known. */
export interface Call {
  account: Account;
  key: string;
  ask: Ask;
  routed: string;
  directive: Directive;
  gauge: Gauge;
  flight: Flight;
  clientId: string | null;
  atMs: number;
  fault: FaultAction | undefined;
  /** Paid by the plan, not from the balance. */
  isOnPlan: boolean;
  /** Spans of the account's windows the call belongs to, in their order. */
  spans: number[];
  nanoPrompts: number;
}

export type Admission = { call?: Call; refusal?: Refusal };

export interface Door {
  surface: Surface;
  /** Billings whose keys may come in here. */
  billings: Billing[];
}

/** The key of a request, from `Authorization` (Bearer or raw) or `x-api-key`. */
export function keyOf(exchange: Exchange): string | undefined {
  const given = exchange.header('authorization') || exchange.header('x-api-key');
  return given?.replace(/^Bearer\s+/i, '').trim() || undefined;
}

function signIn(vendor: Vendor, key: string | undefined): Account | Refusal {
  if (key === undefined) return { code: '1001' };
  const account = vendor.accountOf(key);
  if (!account) return { code: '1002' };
  return (account.config.region ?? 'International') === vendor.region ? account : { code: '1000' };
}

function parse(raw: string): Record<string, unknown> | undefined {
  try {
    const body: unknown = JSON.parse(raw);
    return isFields(body) ? body : undefined;
  } catch {
    return undefined;
  }
}

/** The model that will answer, or why none will. */
function route(vendor: Vendor, account: Account, door: Door, model: string): { routed: string } | Refusal {
  const suffix = '[1m]';
  const isLong = model.endsWith(suffix);
  if (isLong && door.surface.name !== 'messages') return { code: '1211' };
  const asked = isLong ? model.slice(0, -suffix.length) : model;
  const routed = (account.isPlan ? vendor.facts.planRouting[asked] : undefined) ?? asked;
  if (!Object.hasOwn(vendor.facts.models, routed)) return { code: '1211' };
  const included = account.config.models ?? (account.isPlan ? vendor.facts.planModels : undefined);
  return included && !included.includes(routed) ? { code: '1311', model: asked } : { routed };
}

function checkQuestion(vendor: Vendor, ask: Ask, routed: string, directive: Directive): Refusal | undefined {
  if (directive.unknown !== undefined) return { code: '1210', message: `simulator: cannot read ${directive.unknown}` };
  const facts = vendor.facts.models[routed];
  if (facts?.thinkingRequired && ask.thinkingDisabled) return { code: '1210' };
  const prompt = directive.prompt ?? ask.promptTokens;
  return prompt > (facts?.contextTokens ?? Infinity) ? { code: '1261' } : undefined;
}

const isPlanDoor = ({ billings }: Door): boolean => !billings.includes('PayAsYouGo');

/** A plan's key at the pay-as-you-go door lives on the balance, if there is one; the other way round it gets nothing. */
function checkMoney(vendor: Vendor, { account, isOnPlan, atMs }: Call): Refusal | undefined {
  if (!isOnPlan) return account.balanceNanoUsd > 0 ? undefined : { code: '1113' };
  if (!account.isPlan) return { code: '1113' };
  if (account.config.planExpired) return { code: '1309' };
  const window = account.usedUpWindow(atMs);
  if (!window) return undefined;
  window.countRefusal();
  return vendor.knobs.accounting.enforceWindows ? windowRefusal(window, atMs) : undefined;
}

function windowRefusal({ config, resetsMs }: UsageWindow, nowMs: number): Refusal {
  const { code = '1308', label, durationMs } = config;
  const inHours = durationMs / 3_600_000;
  const words = inHours >= 1 ? `${inHours} hour` : `${durationMs / 1000} second`;
  return { code, window: label ?? words, resetsMs: resetsMs ?? nowMs + durationMs };
}

/** Opens windows and charges what is paid on arrival. */
function openWindows(vendor: Vendor, call: Call): void {
  if (!call.isOnPlan) return;
  const { account, ask } = call;
  const isPrompt = (account.config.promptUnit ?? 'Call') === 'Call' || ask.isUserTurn;
  call.nanoPrompts = isPrompt ? nanoPrompts(vendor.facts, call.routed, account.isWeighted, call.atMs) : 0;
  for (const window of account.windows) {
    if (window.config.resource === 'Prompts') window.charge(call.atMs, call.nanoPrompts);
    else if (vendor.knobs.accounting.anchor === 'Arrival') window.open(call.atMs);
    call.spans.push(window.span);
  }
}

function faultRefusal(fault: FaultAction | undefined): Refusal | undefined {
  if (fault?.type !== 'Code') return undefined;
  const { code, status, message } = fault;
  return { code, ...(status === undefined ? {} : { status }), ...(message === undefined ? {} : { message }) };
}

function check(vendor: Vendor, call: Call): Refusal | undefined {
  const { account, gauge, flight } = call;
  const early =
    faultRefusal(call.fault) ??
    checkQuestion(vendor, call.ask, call.routed, call.directive) ??
    checkMoney(vendor, call);
  if (early) return early;
  if (!account.tryRate(performance.now())) return { code: account.config.rate?.code ?? '1303' };
  const slack = vendor.knobs.accounting.enforceConcurrency ? (account.config.concurrency?.slack ?? 0) : Infinity;
  if (!gauge.tryAccept(flight, slack)) return { code: '1302' };
  openWindows(vendor, call);
  return undefined;
}

function clientIdOf(exchange: Exchange, body: Record<string, unknown>): string | null {
  const named = body['request_id'];
  return typeof named === 'string' ? named : (exchange.header('x-request-id') ?? null);
}

/** Decides about one request; a call with a refusal was known but not taken. */
export function admit(vendor: Vendor, door: Door, exchange: Exchange, raw: string): Admission {
  const key = keyOf(exchange);
  const account = signIn(vendor, key);
  if ('code' in account) return { refusal: account };
  const body = parse(raw);
  if (!body) return { refusal: { code: '1210' } };
  const ask = door.surface.read(body);
  if ('refuse' in ask) return { refusal: { code: ask.refuse } };
  const model = route(vendor, account, door, ask.model);
  if ('code' in model) return { refusal: model };
  const { routed } = model;
  const directive = readDirective(raw, exchange.header('x-sim'));
  const gauge = account.gauge(routed);
  const subject = {
    account: account.config.id,
    key: key ?? '',
    model: ask.model,
    routed,
    surface: door.surface.name,
    headers: exchange.request.headers,
  };
  const call: Call = {
    account,
    key: subject.key,
    ask,
    routed,
    directive,
    gauge,
    flight: gauge.arrive(exchange.arrivedMs, performance.now()),
    clientId: clientIdOf(exchange, body),
    atMs: vendor.clock.nowMs(),
    fault: directive.fault ?? vendor.faults.choose(subject),
    isOnPlan: isPlanDoor(door),
    spans: [],
    nanoPrompts: 0,
  };
  const refusal = check(vendor, call);
  return refusal ? { call, refusal } : { call };
}
