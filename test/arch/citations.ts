/** Documents that cite tests: `file › name`, where the file stands below `test/` and lacks its `.test.ts`. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
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
  const [place = '', name = ''] = citation.split(' › ');
  const file = `test/${place}.test.ts`;
  if (!existsSync(join(ROOT, file))) return `${citation}: there is no ${file}`;
  if (name.replace('…', '').trim().length < 2) return `${citation}: names no test`;
  const found = testsIn(read(file)).some((each) => names(name, each));
  return found ? null : `${citation}: no test of that name in ${file}`;
}

const names = (cited: string, test: string): boolean =>
  cited.endsWith('…') ? test.startsWith(cited.replace(/ ?…$/, '')) : test === cited;

/** Tests of a folder below `test/` that none of the citations names. */
export function uncited(folder: string, citations: readonly string[]): readonly string[] {
  const files = readdirSync(join(ROOT, 'test', folder)).filter((file) => file.endsWith('.test.ts'));
  return files.flatMap((file) => {
    const place = `${folder}/${file.replace('.test.ts', '')}`;
    const cited = citations.filter((each) => each.startsWith(`${place} › `)).map((each) => each.split(' › ')[1] ?? '');
    return testsIn(read(`test/${place}.test.ts`))
      .filter((test) => !cited.some((each) => names(each, test)))
      .map((test) => `${place} › ${test}`);
  });
}

const STRING = /'((?:[^'\\\n]|\\.)*)'|"((?:[^"\\\n]|\\.)*)"|`([^`]*)`/.source;
/** `test('name', …`, `fullOnly('name', …`, `test.each(…)('name', …`. */
const TEST = new RegExp(`(?:\\b(?:test|it|fullOnly)(?:\\.concurrent)?|[)\\]])\\(\\s*(?:${STRING}),`, 'g');
/** `key: 'F5 text',`: a row of a table whose tests are named `key: F5 text`. */
const TABLED = /^\s*(\w+):\s*'((?:inv-|[A-Z]\d)(?:[^'\\\n]|\\.)*)',$/gm;

/** Names as they are written: with `%s` and `$name` where a table fills them in. */
function testsIn(source: string): readonly string[] {
  const written = Array.from(source.matchAll(TEST), (match) => match[1] ?? match[2] ?? match[3] ?? '');
  const tabled = Array.from(source.matchAll(TABLED), ([, key, text]) => `${key}: ${text}`);
  return [...written, ...tabled].map(unescaped);
}

const unescaped = (name: string): string => name.replaceAll(/\\(.)/g, '$1');
