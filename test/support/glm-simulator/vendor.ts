/** The vendor's whole state: accounts by key, knobs, clock, book, standing faults and gates. */
import { Account } from './account.ts';
import { SimulatorClock } from './clock.ts';
import type { Facts } from './facts.ts';
import { naiveStamp } from './facts.ts';
import { Faults } from './faults.ts';
import { Holds } from './holds.ts';
import { Ledger } from './ledger.ts';
import {
  defaultKnobs,
  type AccountConfig,
  type Knobs,
  type KnobsPatch,
  type Region,
  type SimulatorConfig,
} from './terms.ts';

/** Used when no account is configured: a key nothing limits. */
const openAccount: AccountConfig = { id: 'default', keys: ['sim-key.sim-secret'] };

export class Vendor {
  readonly facts: Facts;
  readonly clock = new SimulatorClock();
  readonly ledger = new Ledger();
  readonly faults = new Faults();
  readonly holds = new Holds();
  readonly region: Region;
  readonly startedMs = performance.now();
  /** Requests to the monitor API. */
  monitorCalls = 0;
  knobs: Knobs = structuredClone(defaultKnobs);
  #accounts = new Map<string, Account>();
  #byKey = new Map<string, Account>();
  #sequence = 0;
  #lastSecond = -1;
  #lastStamp = '';

  constructor(config: SimulatorConfig, facts: Facts) {
    this.facts = facts;
    this.region = config.region ?? 'International';
    this.clock.change(config.clock ?? {});
    this.turn(config.knobs ?? {});
    for (const account of config.accounts ?? [openAccount]) this.put(account);
  }

  get accounts(): Account[] {
    return [...this.#accounts.values()];
  }

  account(id: string): Account | undefined {
    return this.#accounts.get(id);
  }

  accountOf(key: string): Account | undefined {
    return this.#byKey.get(key);
  }

  /** Creates or changes an account; usage, calls in flight and windows of the same name go on. */
  put(config: AccountConfig): void {
    const account = new Account(config, this.facts);
    const before = this.#accounts.get(config.id);
    if (before) account.continueFrom(before);
    for (const key of before?.config.keys ?? []) this.#byKey.delete(key);
    this.#accounts.set(config.id, account);
    for (const key of config.keys) this.#byKey.set(key, account);
  }

  remove(id: string): void {
    for (const key of this.#accounts.get(id)?.config.keys ?? []) this.#byKey.delete(key);
    this.#accounts.delete(id);
  }

  /** Sets the knobs the patch names. */
  turn(patch: KnobsPatch): void {
    const { answer, stream, errors, accounting, monitor, isDown } = this.knobs;
    this.knobs = {
      answer: { ...answer, ...patch.answer },
      stream: { ...stream, ...patch.stream },
      errors: { ...errors, ...patch.errors },
      accounting: { ...accounting, ...patch.accounting },
      monitor: { ...monitor, ...patch.monitor },
      isDown: patch.isDown ?? isDown,
    };
  }

  /** Request ids start with a UTC+8 stamp, as the vendor's do. */
  nextId(nowMs: number): string {
    this.#sequence += 1;
    const stamp = this.#stamp(nowMs);
    return `${stamp}${this.#sequence.toString(16).padStart(12, '0')}`;
  }

  forget(): void {
    this.ledger.forget();
    this.monitorCalls = 0;
    for (const account of this.accounts) {
      for (const window of account.windows) window.forget();
      for (const gauge of account.gauges.values()) gauge.forget();
    }
  }

  #stamp(nowMs: number): string {
    const second = Math.floor(nowMs / 1000);
    if (second !== this.#lastSecond) {
      this.#lastSecond = second;
      this.#lastStamp = naiveStamp(this.facts, nowMs).replace(/\D/g, '');
    }
    return this.#lastStamp;
  }
}
