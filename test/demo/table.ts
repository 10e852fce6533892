/** The final table: the fleet with us and without. */
export interface Row {
  readonly run: string;
  readonly pool: string;
  readonly calls: number;
  readonly granted: number;
  readonly refusedByUs: number;
  readonly refusedByVendor: number;
  readonly tokens: number;
  readonly credits: string;
  readonly cost: string;
  /** Per run, not per pool: the vendor sees one account. */
  readonly overAdmission: string;
}

const HEADINGS: Readonly<Record<keyof Row, string>> = {
  run: 'run',
  pool: 'pool',
  calls: 'calls',
  granted: 'granted',
  refusedByUs: 'refused by us',
  refusedByVendor: 'refused by vendor',
  tokens: 'tokens',
  credits: 'credits',
  cost: 'cost (USD)',
  overAdmission: 'over-admission',
};

/** Plain text with aligned columns. */
export function formatTable(rows: readonly Row[]): string {
  const keys = Object.keys(HEADINGS) as (keyof Row)[];
  const cells = [keys.map((key) => HEADINGS[key]), ...rows.map((row) => keys.map((key) => String(row[key])))];
  const widths = keys.map((_, column) => Math.max(...cells.map((line) => line[column]?.length ?? 0)));
  const format = (line: readonly string[]): string =>
    line
      .map((cell, i) => cell.padEnd(widths[i] ?? 0))
      .join('  ')
      .trimEnd();
  const [head = [], ...body] = cells;
  return [format(head), widths.map((width) => '-'.repeat(width)).join('  '), ...body.map((line) => format(line))].join(
    '\n',
  );
}
