/** `/__sim/`: how tests set the vendor up and read the oracle. JSON in, JSON out. */
import type { ClockChange } from './clock.ts';
import { parseAccount, parseFault, parseKnobs } from './config.ts';
import type { Exchange } from './exchange.ts';
import type { CallRecord } from './ledger.ts';
import { reportOf } from './report.ts';
import { isFields } from './surfaces/surface.ts';
import type { Vendor } from './vendor.ts';

export const CONTROL_PREFIX = '/__sim/';

interface ControlRequest {
  vendor: Vendor;
  /** Path below the prefix, split. */
  path: string[];
  query: URLSearchParams;
  body: unknown;
  dropConnections: () => number;
}

type Operation = (request: ControlRequest) => unknown;

class NotThere extends Error {}

function fieldsOf({ body }: ControlRequest): Record<string, unknown> {
  if (!isFields(body)) throw new TypeError('the body must be a JSON object');
  return body;
}

function accountOf({ vendor, path }: ControlRequest): NonNullable<ReturnType<Vendor['account']>> {
  const account = vendor.account(path[1] ?? '');
  if (!account) throw new NotThere(`no account ${path[1]}`);
  return account;
}

function putAccount(request: ControlRequest): unknown {
  const config = parseAccount({ ...fieldsOf(request), id: request.path[1] }, 'account', request.vendor.facts);
  request.vendor.put(config);
  return config;
}

function patchAccount(request: ControlRequest): unknown {
  const merged = { ...accountOf(request).config, ...fieldsOf(request) };
  return putAccount({
    ...request,
    body: Object.fromEntries(Object.entries(merged).filter(([, value]) => value !== null)),
  });
}

function setWindow(request: ControlRequest): unknown {
  const { vendor, path } = request;
  const window = accountOf(request).windows.find(({ config }) => config.name === path[3]);
  if (!window) throw new NotThere(`no window ${path[3]}`);
  window.set(vendor.clock.nowMs(), fieldsOf(request) as { used?: number; openedMs?: number | null });
  return window.report(vendor.clock.nowMs());
}

function callsOf({ vendor, query }: ControlRequest): CallRecord[] {
  const wanted = (['account', 'key', 'model', 'id', 'clientId', 'ending', 'code'] as const).flatMap((name) => {
    const value = query.get(name);
    return value === null ? [] : [{ name, value }];
  });
  return vendor.ledger.calls().filter((call) => wanted.every(({ name, value }) => call[name] === value));
}

/** Calls still there: account, model, and monotonic start. */
function flightsOf({ vendor }: ControlRequest): object[] {
  return vendor.accounts.flatMap(({ config, gauges }) =>
    [...gauges].flatMap(([model, gauge]) =>
      [...gauge.flights].map(({ startMs, isAccepted }) => ({
        account: config.id,
        model,
        startMs: startMs - vendor.startedMs,
        isAccepted,
      })),
    ),
  );
}

const OPERATIONS: Record<string, Operation> = {
  'GET health': () => ({ ok: true }),
  'GET report': ({ vendor }) => reportOf(vendor),
  'DELETE report': ({ vendor }) => vendor.forget(),
  'GET calls': callsOf,
  'GET flights': flightsOf,
  'GET clock': ({ vendor }) => vendor.clock.read(),
  'PUT clock': (request) => {
    request.vendor.clock.change(fieldsOf(request) as ClockChange);
    return request.vendor.clock.read();
  },
  'GET knobs': ({ vendor }) => vendor.knobs,
  'PATCH knobs': (request) => {
    request.vendor.turn(parseKnobs(request.body));
    if (request.vendor.knobs.isDown) request.dropConnections();
    return request.vendor.knobs;
  },
  'GET accounts': ({ vendor }) => vendor.accounts.map(({ config }) => config),
  'PUT accounts/*': putAccount,
  'PATCH accounts/*': patchAccount,
  'DELETE accounts/*': ({ vendor, path }) => vendor.remove(path[1] ?? ''),
  'PUT accounts/*/windows/*': setWindow,
  'GET faults': ({ vendor }) => vendor.faults.report(),
  'POST faults': (request) => ({ id: request.vendor.faults.add(parseFault(request.body)) }),
  'DELETE faults': ({ vendor }) => vendor.faults.remove(),
  'DELETE faults/*': ({ vendor, path }) => vendor.faults.remove(path[1]),
  'GET holds': ({ vendor }) => vendor.holds.report(),
  'DELETE holds': ({ vendor }) => vendor.holds.release(),
  'DELETE holds/*': ({ vendor, path }) => vendor.holds.release(path[1]),
  'DELETE connections': ({ dropConnections }) => ({ dropped: dropConnections() }),
};

/** Names alternate with ids: `accounts/<id>/windows/<name>`. */
const shapeOf = (path: string[]): string => path.map((part, index) => (index % 2 === 1 ? '*' : part)).join('/');

export async function serveControl(
  vendor: Vendor,
  exchange: Exchange,
  url: URL,
  dropConnections: () => number,
): Promise<void> {
  const raw = await exchange.readBody();
  if (raw === undefined) return;
  const path = url.pathname.slice(CONTROL_PREFIX.length).split('/').map(decodeURIComponent);
  const operation = OPERATIONS[`${exchange.request.method} ${shapeOf(path)}`];
  if (!operation) return exchange.sendJson(404, { error: `no operation ${exchange.request.method} ${url.pathname}` });
  try {
    const body: unknown = raw === '' ? {} : JSON.parse(raw);
    const answer = operation({ vendor, path, query: url.searchParams, body, dropConnections });
    exchange.sendJson(200, answer ?? {});
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    exchange.sendJson(error instanceof NotThere ? 404 : 400, { error: message });
  }
}
