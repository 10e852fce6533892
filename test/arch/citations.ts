/** Documents that cite tests: `file › name`, where the file stands below `test/` and lacks its `.test.ts`. */
import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

const ROOT = resolve(import.meta.dirname, '../..');

export interface Row {
  /** What its first cell says; names the row in failures. */
  readonly name: string;
  readonly text: string;
  readonly citations: readonly string[];
}

export const read = (file: string): string => readFileSync(join(ROOT, file), 'utf8');

/** Rows of the tables below a heading, to the next one of the same level; all tables without a heading. */
export function rowsOf(document: string, heading?: string): readonly Row[] {
  const lines = document.split('\n');
  const from = heading === undefined ? 0 : lines.indexOf(`## ${heading}`) + 1;
  if (heading !== undefined && from === 0) throw new Error(`no heading ${heading}`);
  const length = lines.slice(from).findIndex((line) => heading !== undefined && line.startsWith('## '));
  const section = lines.slice(from, length < 0 ? undefined : from + length);
  const isRow = (line: string, index: number): boolean =>
    line.startsWith('|') && !line.startsWith('|--') && !section[index + 1]?.startsWith('|--');
  return section.filter(isRow).map((text) => ({
    name: text.split('|')[1]?.trim() ?? '',
    text,
    citations: citationsIn(text),
  }));
}

export function citationsIn(text: string): readonly string[] {
  return Array.from(text.matchAll(/`([^`]+ › [^`]+)`/g), ([, citation]) => citation ?? '');
}

/** Null when the test is there, or what is wrong. A name that ends in `…` is the beginning of one, or of several. */
export function faultOf(citation: string): string | null {
  const at = citation.indexOf(' › ');
  const file = `test/${citation.slice(0, at)}.test.ts`;
  if (!existsSync(join(ROOT, file))) return `${citation}: there is no ${file}`;
  const name = citation.slice(at + ' › '.length);
  const wanted = name.replace(/ ?…$/, '');
  if (wanted.length < 2) return `${citation}: names no test`;
  const found = testsIn(read(file)).some((each) => (name.endsWith('…') ? each.startsWith(wanted) : each === name));
  return found ? null : `${citation}: no test of that name in ${file}`;
}

const STRING = /'((?:[^'\\\n]|\\.)*)'|"((?:[^"\\\n]|\\.)*)"|`([^`]*)`/.source;
/** `test('name', async …`, `test.each(…)('name', …`, `fullOnly(⏎ 'name', …`. */
const TEST = new RegExp(`[\\w)\\]]\\(\\s*(?:${STRING}),\\s*(?:async\\b|\\(|\\w+ =>|\\{)`, 'g');
/** `key: 'text',`: a row of a table whose tests are named `key: text`. */
const TABLED = new RegExp(`^\\s*(\\w+):\\s*(?:${STRING}),$`, 'gm');

/** Names as they are written: with `%s` and `$name` where a table fills them in. */
function testsIn(source: string): readonly string[] {
  const written = Array.from(source.matchAll(TEST), ([, ...quoted]) =>
    quoted.slice(0, 3).find((each) => each !== undefined),
  );
  const tabled = Array.from(
    source.matchAll(TABLED),
    ([, key, ...quoted]) => `${key}: ${quoted.slice(0, 3).find((each) => each !== undefined)}`,
  );
  return [...written.filter((each) => each !== undefined).map(unescaped), ...tabled.map(unescaped)];
}

const unescaped = (name: string): string => name.replaceAll(/\\(.)/g, '$1');
