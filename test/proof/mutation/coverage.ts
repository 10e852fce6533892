/** That the table leaves nothing out: every rule, every caller of `wake`, every number and budget has a mutant. */
import { ENGINE_CONSTANTS } from '#sidecar/engine/constants.ts';
import { LUA_FILES } from '#sidecar/engine/lua-source.ts';
import { lua, type Mutant } from './mutant.ts';

/** The rules of the engine, by number. */
const RULES: Readonly<Record<string, number>> = { W: 6, T: 7, N: 6, Q: 9, M: 1, F: 6, L: 2 };

/** Rules that no guard in Lua keeps, and what does. */
const NOT_IN_LUA: Readonly<Record<string, string>> = {
  F2: "the operator writes the users' rights to every server; `test/integration/engine/acl.test.ts`",
  F4: 'the sidecar decides while Redis is away; its mutants are in sidecar-talk.ts',
  F5: 'a bound for each class of fault, measured on whole processes; `test/proof/*.test.ts`',
};

/** Rules that the sidecar keeps by itself, whatever Redis does. */
const OF_SIDECAR = ['W1', 'W2', 'W6', 'T2', 'T3', 'T4', 'T5', 'T6', 'T7', 'N1', 'Q7', 'Q9', 'F4', 'F6'];

/** Uses of budgets that no test can see, and why they are there. */
const UNSEEN: Readonly<Record<string, string>> = {
  "'LIMIT', 0, WAITER_REAP_BUDGET": 'how many are read at once, until those that may go have gone',
};

export function coverageFaults(mutants: readonly Mutant[], text: (file: string) => string): readonly string[] {
  const luaFiles = LUA_FILES.map(lua);
  return [
    ...uncoveredRules(mutants, luaFiles),
    ...luaFiles.flatMap((file) => uncoveredWakes(mutants, file, text(file))),
    ...uncoveredNumbers(mutants),
    ...luaFiles.flatMap((file) => uncoveredBudgets(mutants, file, text(file))),
  ];
}

function uncoveredRules(mutants: readonly Mutant[], luaFiles: readonly string[]): readonly string[] {
  const rulesOf = (isMeant: (file: string) => boolean): ReadonlySet<string> =>
    new Set(mutants.filter(({ file }) => isMeant(file)).map(({ rule }) => rule));
  const inLua = rulesOf((file) => luaFiles.includes(file));
  const inSidecar = rulesOf((file) => !file.startsWith('sidecar/engine/'));
  const rules = Object.entries(RULES).flatMap(([letter, count]) =>
    Array.from({ length: count }, (_, index) => `${letter}${index + 1}`),
  );
  return [
    ...rules.filter((rule) => !inLua.has(rule) && NOT_IN_LUA[rule] === undefined).map((rule) => `${rule}: no mutant`),
    ...Object.keys(NOT_IN_LUA)
      .filter((rule) => inLua.has(rule))
      .map((rule) => `${rule}: said to have no guard in Lua, and has a mutant there`),
    ...OF_SIDECAR.filter((rule) => !inSidecar.has(rule)).map((rule) => `${rule}: no mutant in the sidecar`),
  ];
}

function uncoveredWakes(mutants: readonly Mutant[], file: string, text: string): readonly string[] {
  const covered = mutants
    .filter((mutant) => mutant.file === file)
    .map(({ find, put }) => ({
      from: text.indexOf(find),
      to: text.indexOf(find) + find.length,
      drops: !put.includes('queue.wake'),
    }));
  return Array.from(text.matchAll(/(?<!function )queue\.wake(?:_path|_all)?\(/g), ({ index }) => index)
    .filter((at) => !covered.some(({ from, to, drops }) => drops && from <= at && at < to))
    .map((at) => `${file}:${text.slice(0, at).split('\n').length}: no mutant drops this call of queue.wake`);
}

function uncoveredNumbers(mutants: readonly Mutant[]): readonly string[] {
  return Object.keys(ENGINE_CONSTANTS)
    .filter(
      (name) =>
        !mutants.some(({ file, find }) => file.endsWith('/constants.ts') && find.trimStart().startsWith(`${name}:`)),
    )
    .map((name) => `${name}: no mutant changes this number`);
}

/** Uses of budgets, not only their numbers: a budget nobody keeps to is none. */
function uncoveredBudgets(mutants: readonly Mutant[], file: string, text: string): readonly string[] {
  const finds = mutants.filter((mutant) => mutant.file === file).map(({ find }) => find);
  finds.push(...Object.keys(UNSEEN));
  const code = text.replaceAll(/--.*$/gm, (comment) => ' '.repeat(comment.length));
  return Array.from(code.matchAll(/\b[A-Z_]*BUDGET\b(?! =)/g))
    .filter(({ index }) => !finds.some((find) => covers(text, find, index)))
    .map(({ index, 0: name }) => `${file}:${text.slice(0, index).split('\n').length}: no mutant drops this ${name}`);
}

function covers(text: string, find: string, at: number): boolean {
  const from = text.indexOf(find);
  return from <= at && at < from + find.length;
}
