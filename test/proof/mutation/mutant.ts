/** A mutant: one guard of the engine taken away. At least one of the named test files must then turn red. */
export interface Mutant {
  /** What the guard holds, in a few words; unique. */
  readonly guard: string;
  /** The rule it belongs to, as in the tests' names. */
  readonly rule: string;
  /** From the root of the project. */
  readonly file: string;
  /** Text that is there exactly once. */
  readonly find: string;
  readonly put: string;
  /** Test files, as `vitest` filters: how their paths begin, from the root of the project. A suite may be split. */
  readonly red: readonly string[];
  /** Part of `npm test`. */
  readonly fast?: true;
}

/** Short words for the tables: `suite('queue')` are integration tests of the engine, `lua('leases')` is a file of it. */
export const suite = (name: string): string => `test/integration/engine/${name}`;
export const lua = (name: string): string => `sidecar/engine/lua/${name}.lua`;

/** Guard, what is there, what is put instead, the tests. */
export type Row = readonly [
  guard: string,
  find: string,
  put: string,
  red: string | readonly string[],
  fast?: 'fast' | undefined,
];

/** Mutants of one file; `red` is from the root of the project. */
export function mutantsOf(file: string, rule: string, rows: readonly Row[]): readonly Mutant[] {
  return rows.map(([guard, find, put, red, fast]) => ({
    guard,
    rule,
    file,
    find,
    put,
    red: [red].flat(),
    ...(fast ? { fast: true } : {}),
  }));
}

/** Of one file of the engine; `red` names suites, or is a path from the root of the project. */
export function mutants(rule: string, name: string, rows: readonly Row[]): readonly Mutant[] {
  return mutantsOf(
    lua(name),
    rule,
    rows.map(([guard, find, put, red, fast]) => [
      guard,
      find,
      put,
      [red].flat().map((each) => (each.startsWith('test/') ? each : suite(each))),
      fast,
    ]),
  );
}

/** Of one file of the sidecar's leases; `red` names unit tests of them. */
export function ofLeases(name: string, rule: string, rows: readonly Row[]): readonly Mutant[] {
  return mutantsOf(
    `sidecar/leases/${name}.ts`,
    rule,
    rows.map(([guard, find, put, red, fast]) => [
      guard,
      find,
      put,
      [red].flat().map((test) => `test/unit/leases/${test}`),
      fast,
    ]),
  );
}
