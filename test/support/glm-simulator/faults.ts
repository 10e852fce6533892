/** Standing fault rules: which calls break, and how. */
import type { SurfaceName } from './refusal.ts';
import type { FaultAction, FaultRule } from './terms.ts';

export interface FaultSubject {
  account: string;
  key: string;
  model: string;
  routed: string;
  surface: SurfaceName;
  headers: NodeJS.Dict<string | string[]>;
}

export interface FaultReport {
  rule: FaultRule;
  matched: number;
  hit: number;
}

interface Standing extends FaultReport {
  id: string;
}

function isMatch(rule: FaultRule, subject: FaultSubject): boolean {
  if (rule.account !== undefined && rule.account !== subject.account) return false;
  if (rule.key !== undefined && rule.key !== subject.key) return false;
  if (rule.surface !== undefined && rule.surface !== subject.surface) return false;
  if (rule.model !== undefined && rule.model !== subject.model && rule.model !== subject.routed) return false;
  return rule.header === undefined || subject.headers[rule.header.name.toLowerCase()] === rule.header.value;
}

/** The n-th match is hit when the running share of hits steps over a whole number: exact and evenly spread. */
const isChosen = (percent: number, n: number): boolean =>
  Math.floor((n * percent) / 100) > Math.floor(((n - 1) * percent) / 100);

export class Faults {
  #rules: Standing[] = [];
  #nextId = 1;

  add(rule: FaultRule): string {
    const id = rule.id ?? `fault-${this.#nextId++}`;
    this.remove(id);
    this.#rules.push({ id, rule: { ...rule, id }, matched: 0, hit: 0 });
    return id;
  }

  remove(id?: string): void {
    this.#rules = id === undefined ? [] : this.#rules.filter((each) => each.id !== id);
  }

  report(): FaultReport[] {
    return this.#rules.map(({ rule, matched, hit }) => ({ rule, matched, hit }));
  }

  /** The first rule that wants this call, counted as hit. */
  choose(subject: FaultSubject): FaultAction | undefined {
    for (const standing of this.#rules) {
      const { rule } = standing;
      if (!isMatch(rule, subject)) continue;
      standing.matched += 1;
      const turn = standing.matched - (rule.skip ?? 0);
      if (turn < 1 || standing.hit >= (rule.times ?? Infinity) || !isChosen(rule.percent ?? 100, turn)) continue;
      standing.hit += 1;
      return rule.action;
    }
    return undefined;
  }
}
