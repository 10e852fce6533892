/** The usage API the vendor's own plugin reads: undocumented, with all its quirks. */
import type { Account } from './account.ts';
import { keyOf } from './admission.ts';
import type { Exchange } from './exchange.ts';
import { naiveStamp } from './facts.ts';
import type { CallRecord } from './ledger.ts';
import type { Vendor } from './vendor.ts';
import type { UsageWindow } from './windows.ts';

const HOUR_MS = 3_600_000;

type Row = Record<string, string | number | object>;

const BAD_KEY = { code: 401, msg: 'token expired or incorrect', success: false };
const NO_PLAN = { code: 500, msg: '当前用户不存在coding plan', success: false };

function windowRow(vendor: Vendor, window: UsageWindow): Row {
  const { monitor } = vendor.knobs;
  const { config } = window;
  const nowMs = vendor.clock.nowMs();
  const used = window.usedAgo(nowMs, monitor.lagMs);
  const row = config.row ?? {
    type: config.resource === 'Credits' ? 'CREDIT_LIMIT' : 'TOKENS_LIMIT',
    unit: 3,
    number: Math.max(1, Math.round(config.durationMs / HOUR_MS)),
  };
  // Used and left are floored on their own: together they may miss the total by one.
  const values = {
    usage: config.amount,
    currentValue: Math.floor(used),
    remaining: Math.max(0, Math.floor(config.amount - used)),
  };
  return {
    ...row,
    ...(monitor.rowType === null ? {} : { type: monitor.rowType }),
    ...(monitor.omitValues ? {} : values),
    percentage: Math.min(100, Math.floor((used * 100) / Math.max(config.amount, 1e-9))),
    ...(window.resetsMs === undefined ? {} : { nextResetTime: Math.round(window.resetsMs) }),
  };
}

function mcpRow({ plan, config }: Account): Row[] {
  if (!plan?.mcpCalls) return [];
  const used = config.mcpUsed ?? 0;
  return [
    {
      type: 'TIME_LIMIT',
      unit: 5,
      number: 1,
      usage: plan.mcpCalls,
      currentValue: used,
      remaining: plan.mcpCalls - used,
      percentage: Math.floor((used * 100) / plan.mcpCalls),
      usageDetails: [
        { modelCode: 'search-prime', usage: used },
        { modelCode: 'web-reader', usage: 0 },
        { modelCode: 'zread', usage: 0 },
      ],
    },
  ];
}

function quotaLimit(vendor: Vendor, account: Account): object {
  const { monitor } = vendor.knobs;
  const rows = [...account.windows.map((window) => windowRow(vendor, window)), ...mcpRow(account)];
  if (monitor.unknownRow) rows.push({ type: 'DREAM_LIMIT', unit: 9, number: 2, usage: 7, percentage: 0 });
  if (monitor.reversed) rows.reverse();
  const limits = monitor.answer === 'EmptyLimits' ? [] : rows;
  return success(vendor, { level: account.plan?.level ?? 'custom', limits });
}

const success = (vendor: Vendor, data: object): object => ({
  code: vendor.knobs.monitor.successCode,
  msg: 'Operation successful',
  success: true,
  data,
});

/** Both ends of the asked range, read as UTC+8; undefined when they are missing. */
function rangeOf(vendor: Vendor, query: URLSearchParams): { fromMs: number; toMs: number } | undefined {
  const shiftMs = vendor.facts.clockOffsetMinutes * 60_000;
  const read = (name: string): number => Date.parse(`${query.get(name) ?? ''}Z`.replace(' ', 'T')) - shiftMs;
  const range = { fromMs: read('startTime'), toMs: read('endTime') };
  return Number.isNaN(range.fromMs + range.toMs) ? undefined : range;
}

const orNull = (value: number): number | null => (value === 0 ? null : value);

/** Start of every hour that touches the range; a year at most. */
function hoursOf({ fromMs, toMs }: { fromMs: number; toMs: number }): number[] {
  const first = Math.floor(fromMs / HOUR_MS);
  const count = Math.max(0, Math.min(8784, Math.floor(toMs / HOUR_MS) - first + 1));
  return Array.from({ length: count }, (_, index) => (first + index) * HOUR_MS);
}

const tokensOf = ({ tokens }: CallRecord): number => tokens.input + tokens.cached + tokens.output;

function modelUsage(vendor: Vendor, account: Account, range: { fromMs: number; toMs: number }): object {
  const mine = vendor.ledger
    .calls()
    .filter((call) => call.account === account.config.id && call.ending !== 'Refused')
    .filter(({ atMs }) => atMs >= range.fromMs && atMs <= range.toMs);
  const byHour = Map.groupBy(mine, ({ atMs }) => Math.floor(atMs / HOUR_MS) * HOUR_MS);
  const hours = hoursOf(range);
  const sum = (calls: CallRecord[]): number => calls.reduce((total, call) => total + tokensOf(call), 0);
  return success(vendor, {
    x_time: hours.map((hour) => naiveStamp(vendor.facts, hour).slice(0, 16)),
    modelCallCount: hours.map((hour) => orNull(byHour.get(hour)?.length ?? 0)),
    tokensUsage: hours.map((hour) => orNull(sum(byHour.get(hour) ?? []))),
    totalUsage: {
      totalModelCallCount: mine.length,
      totalTokensUsage: sum(mine),
      modelSummaryList: [...Map.groupBy(mine, ({ model }) => model)].map(([modelName, calls]) => ({
        modelName,
        totalTokens: sum(calls),
      })),
    },
  });
}

function toolUsage(vendor: Vendor, account: Account, range: { fromMs: number; toMs: number }): object {
  const hours = hoursOf(range);
  const used = account.config.mcpUsed ?? 0;
  const idle = hours.map(() => null);
  return success(vendor, {
    x_time: hours.map((hour) => naiveStamp(vendor.facts, hour).slice(0, 16)),
    networkSearchCount: idle,
    webReadMcpCount: idle,
    zreadMcpCount: idle,
    totalUsage: {
      totalNetworkSearchCount: used,
      totalWebReadMcpCount: 0,
      totalZreadMcpCount: 0,
      totalSearchMcpCount: used,
      toolDetails: used === 0 ? [] : [{ modelName: 'search-prime', totalUsageCount: used }],
    },
  });
}

const RANGED: Record<string, (vendor: Vendor, account: Account, range: { fromMs: number; toMs: number }) => object> = {
  '/api/monitor/usage/model-usage': modelUsage,
  '/api/monitor/usage/tool-usage': toolUsage,
};

function answerOf(vendor: Vendor, exchange: Exchange, path: string, query: URLSearchParams): object | undefined {
  const account = vendor.accountOf(keyOf(exchange) ?? '');
  if (!account || vendor.knobs.monitor.answer === 'BadKey') return BAD_KEY;
  if ((account.config.region ?? 'International') !== vendor.region) return BAD_KEY;
  const hasPlan = account.config.billing !== 'TeamSeat' && account.isPlan;
  if (!hasPlan || vendor.knobs.monitor.answer === 'NoPlan') return NO_PLAN;
  if (path === '/api/monitor/usage/quota/limit') return quotaLimit(vendor, account);
  const answer = RANGED[path];
  if (!answer) return undefined;
  const range = rangeOf(vendor, query);
  return range
    ? answer(vendor, account, range)
    : { code: 500, msg: 'startTime and endTime are required', success: false };
}

/** Every answer but an unknown path is HTTP 200; false when the path is none of the monitor's. */
export function serveMonitor(vendor: Vendor, exchange: Exchange, path: string, query: URLSearchParams): boolean {
  const { answer } = vendor.knobs.monitor;
  vendor.monitorCalls += 1;
  if (answer === 'Hang') return true;
  if (answer === 'Html502') {
    exchange.send(502, { 'content-type': 'text/html' }, '<html><body>502 Bad Gateway</body></html>');
    return true;
  }
  const body = answerOf(vendor, exchange, path, query);
  if (body) exchange.sendJson(200, body);
  return body !== undefined;
}
