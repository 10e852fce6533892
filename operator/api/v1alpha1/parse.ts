/**
 * Small parsers for objects that came from the API server, a file or a test: `unknown` in, a typed value or a list of
 * problems out. A parser never throws on bad input and reports every problem it sees, each with its JSON path.
 * Absent optional fields become `null` or their default, so that later code has one case less.
 */

/** `path` is like `spec.limits[0].amount`; `message` says what is wrong and what to write instead. */
export interface Problem {
  readonly path: string;
  readonly message: string;
}

export type Parsed<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly problems: readonly Problem[] };

const FAILED: unique symbol = Symbol('failed');
type Failed = typeof FAILED;

/** Collects problems below one path. */
export class Place {
  readonly path: string;
  readonly problems: Problem[];

  constructor(path: string, problems: Problem[]) {
    this.path = path;
    this.problems = problems;
  }

  child(key: string | number): Place {
    if (typeof key === 'number') return new Place(`${this.path}[${key}]`, this.problems);
    return new Place(this.path === '' ? key : `${this.path}.${key}`, this.problems);
  }

  /** Notes a problem here; a parser returns the result to say that it has no value. */
  fail(message: string): Failed {
    this.problems.push({ path: this.path, message });
    return FAILED;
  }
}

export type Parser<T> = (input: unknown, at: Place) => T | Failed;

/** Runs a parser at `path` (empty: the root). */
export function parseWith<T>(parser: Parser<T>, input: unknown, path = ''): Parsed<T> {
  const problems: Problem[] = [];
  const value = parser(input, new Place(path, problems));
  return value === FAILED || problems.length > 0 ? { ok: false, problems } : { ok: true, value };
}

/** One line of text for people: `spec.plan: is required; spec.currency: must be one of USD, CNY`. */
export function describeProblems(problems: readonly Problem[]): string {
  return problems.map(({ path, message }) => `${path === '' ? 'object' : path}: ${message}`).join('; ');
}

const show = (input: unknown): string => {
  const text = JSON.stringify(input) ?? String(input);
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
};

const absent = (input: unknown): input is null | undefined => input === undefined || input === null;

/** A string of `min` to `max` characters; `pattern` must match, else `hint` is the message. */
export function string(rule: { min?: number; max?: number; pattern?: RegExp; hint?: string } = {}): Parser<string> {
  const { min = 0, max = 253, pattern, hint } = rule;
  return (input, at) => {
    if (absent(input)) return at.fail('is required');
    if (typeof input !== 'string') return at.fail(`must be a string, not ${show(input)}`);
    if (input.length < min || input.length > max) return at.fail(`must have ${min} to ${max} characters`);
    if (pattern && !pattern.test(input)) return at.fail(hint ?? `must match ${pattern.source}, not ${show(input)}`);
    return input;
  };
}

/** A whole number from `min` to `max`, both included. */
export function integer(rule: { min: number; max: number }): Parser<number> {
  return (input, at) => {
    if (absent(input)) return at.fail('is required');
    if (typeof input !== 'number' || !Number.isInteger(input)) return at.fail(`must be an integer, not ${show(input)}`);
    if (input < rule.min || input > rule.max) return at.fail(`must be from ${rule.min} to ${rule.max}, not ${input}`);
    return input;
  };
}

export function boolean(): Parser<boolean> {
  return (input, at) => {
    if (absent(input)) return at.fail('is required');
    return typeof input === 'boolean' ? input : at.fail(`must be true or false, not ${show(input)}`);
  };
}

export function oneOf<const T extends string>(values: readonly T[]): Parser<T> {
  return (input, at) => {
    if (absent(input)) return at.fail(`is required: one of ${values.join(', ')}`);
    return (
      values.find((value) => value === input) ?? at.fail(`must be one of ${values.join(', ')}, not ${show(input)}`)
    );
  };
}

/** A list of `min` to `max` items. */
export function list<T>(item: Parser<T>, rule: { min?: number; max: number }): Parser<readonly T[]> {
  return (input, at) => {
    if (absent(input)) return at.fail('is required');
    if (!Array.isArray(input)) return at.fail(`must be a list, not ${show(input)}`);
    const { min = 0, max } = rule;
    if (input.length < min || input.length > max) return at.fail(`must have ${min} to ${max} items`);
    const values = input.map((each, index) => item(each, at.child(index)));
    const good = values.filter((value): value is T => value !== FAILED);
    return good.length === values.length ? good : FAILED;
  };
}

/** A list in which `keyOf` names each item once, as the API server's list-maps do. */
export function listMap<T>(
  item: Parser<T>,
  rule: { min?: number; max: number; keyOf: (value: T) => string },
): Parser<readonly T[]> {
  const items = list(item, rule);
  return (input, at) => {
    const values = items(input, at);
    if (values === FAILED) return values;
    const seen = new Set<string>();
    for (const key of values.map(rule.keyOf)) {
      if (seen.has(key)) at.fail(`names ${show(key)} twice`);
      seen.add(key);
    }
    return values;
  };
}

/** An object whose values all pass `value`; keys are as they come. */
export function mapOf<T>(value: Parser<T>, rule: { max: number }): Parser<Readonly<Record<string, T>>> {
  return (input, at) => {
    if (absent(input)) return at.fail('is required');
    if (typeof input !== 'object' || Array.isArray(input)) return at.fail(`must be an object, not ${show(input)}`);
    const entries = Object.entries(input);
    if (entries.length > rule.max) return at.fail(`must have at most ${rule.max} entries`);
    const out: Record<string, T> = {};
    for (const [key, each] of entries) {
      const parsed = value(each, at.child(key));
      if (parsed !== FAILED) out[key] = parsed;
    }
    return out;
  };
}

type Fields<T> = { readonly [K in keyof T]: Parser<T[K]> };

/** An object with exactly these fields; an unknown one is a problem, so that a typing error never goes unseen. */
export function object<T extends object>(fields: Fields<T>): Parser<Readonly<T>> {
  return shape(fields, true);
}

/** An object of which only these fields are read; others are ignored. */
export function looseObject<T extends object>(fields: Fields<T>): Parser<Readonly<T>> {
  return shape(fields, false);
}

function shape<T extends object>(fields: Fields<T>, closed: boolean): Parser<Readonly<T>> {
  const known = Object.entries(fields) as [keyof T & string, Parser<unknown>][];
  return (input, at) => {
    if (absent(input)) return at.fail('is required');
    if (typeof input !== 'object' || Array.isArray(input)) return at.fail(`must be an object, not ${show(input)}`);
    const values = input as Record<string, unknown>;
    const out: Record<string, unknown> = {};
    let complete = true;
    for (const [key, parser] of known) {
      const value = parser(Object.hasOwn(values, key) ? values[key] : undefined, at.child(key));
      if (value === FAILED) complete = false;
      else out[key] = value;
    }
    const names = known.map(([key]) => key);
    const unknown = closed ? Object.keys(values).filter((key) => !names.includes(key as keyof T & string)) : [];
    for (const key of unknown) at.child(key).fail(`is not a field; known are ${names.join(', ')}`);
    return complete ? (out as T) : FAILED;
  };
}

/** `null` when the field is absent. */
export function optional<T>(parser: Parser<T>): Parser<T | null> {
  return (input, at) => (absent(input) ? null : parser(input, at));
}

/** `value` when the field is absent. */
export function withDefault<T>(parser: Parser<T>, value: T): Parser<T> {
  return (input, at) => (absent(input) ? value : parser(input, at));
}

/** Turns what `parser` gave into something else; `at.fail` inside reports a problem. */
export function mapped<T, U>(parser: Parser<T>, change: (value: T, at: Place) => U | Failed): Parser<U> {
  return (input, at) => {
    const value = parser(input, at);
    return value === FAILED ? FAILED : change(value, at);
  };
}

/** Adds a rule over a whole value: `rule` reports through `at.fail` (or `at.child(…).fail`). */
export function checked<T>(parser: Parser<T>, rule: (value: T, at: Place) => void): Parser<T> {
  return mapped(parser, (value, at) => {
    rule(value, at);
    return value;
  });
}
