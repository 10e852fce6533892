/** The oracle's report: what the control API answers and `control.ts` returns. */
import type { GaugeReport } from './gauge.ts';
import type { LedgerRow } from './ledger.ts';
import type { Vendor } from './vendor.ts';
import type { WindowReport } from './windows.ts';

interface AccountReport {
  models: Record<string, GaugeReport>;
  windows: Record<string, WindowReport>;
  balanceUsd: number | null;
}

export interface Report {
  nowMs: number;
  /** Calls that have ended. */
  calls: number;
  accepted: number;
  /** Calls answered with each code. */
  refused: Record<string, number>;
  inFlight: number;
  monitorCalls: number;
  overAdmission: {
    /** Calls that arrived while their model's slots were all in use. */
    concurrency: number;
    /** Most calls beyond a model's limit at one instant. */
    maxExcess: number;
    /** Calls that arrived while a window was used up. */
    windowCalls: number;
    /** Largest use of a window beyond its amount, in its units. */
    maxWindowExcess: number;
  };
  tokens: { input: number; cached: number; output: number; reasoning: number };
  credits: number;
  prompts: number;
  usd: number;
  cny: number;
  /** Per key and routed model; calls refused before their account and model were known have an empty one. */
  rows: LedgerRow[];
  accounts: Record<string, AccountReport>;
}

function accountsOf(vendor: Vendor): Record<string, AccountReport> {
  const nowMs = vendor.clock.nowMs();
  return Object.fromEntries(
    vendor.accounts.map(({ config, gauges, windows, balanceNanoUsd }) => [
      config.id,
      {
        models: Object.fromEntries([...gauges].map(([model, gauge]) => [model, gauge.report()])),
        windows: Object.fromEntries(windows.map((window) => [window.config.name, window.report(nowMs)])),
        balanceUsd: Number.isFinite(balanceNanoUsd) ? balanceNanoUsd / 1e9 : null,
      },
    ]),
  );
}

const sum = <T>(items: T[], value: (item: T) => number): number =>
  items.reduce((total, item) => total + value(item), 0);
const most = <T>(items: T[], value: (item: T) => number): number => Math.max(0, ...items.map(value));

function refusedOf(rows: LedgerRow[]): Record<string, number> {
  const refused: Record<string, number> = {};
  for (const row of rows)
    for (const [code, count] of Object.entries(row.refused)) refused[code] = (refused[code] ?? 0) + count;
  return refused;
}

export function reportOf(vendor: Vendor): Report {
  const rows = vendor.ledger.rows();
  const accounts = accountsOf(vendor);
  const gauges = Object.values(accounts).flatMap(({ models }) => Object.values(models));
  const windows = Object.values(accounts).flatMap((account) => Object.values(account.windows));
  return {
    nowMs: vendor.clock.nowMs(),
    calls: vendor.ledger.total,
    accepted: sum(rows, ({ accepted }) => accepted),
    refused: refusedOf(rows),
    inFlight: sum(gauges, ({ inFlight }) => inFlight),
    monitorCalls: vendor.monitorCalls,
    overAdmission: {
      concurrency: sum(gauges, ({ overAdmitted }) => overAdmitted),
      maxExcess: most(gauges, ({ maxExcess }) => maxExcess),
      windowCalls: sum(windows, ({ refused }) => refused),
      maxWindowExcess: most(windows, ({ maxExcess }) => maxExcess),
    },
    tokens: {
      input: sum(rows, ({ tokens }) => tokens.input),
      cached: sum(rows, ({ tokens }) => tokens.cached),
      output: sum(rows, ({ tokens }) => tokens.output),
      reasoning: sum(rows, ({ tokens }) => tokens.reasoning),
    },
    credits: sum(rows, ({ credits }) => credits),
    prompts: sum(rows, ({ prompts }) => prompts),
    usd: sum(rows, ({ usd }) => usd),
    cny: sum(rows, ({ cny }) => cny),
    rows,
    accounts,
  };
}
