/**
 * Lua allows 200 local names in one scope, the library has more. So each file is a block of its own, and only the names
 * that later files use are declared around them; constants are declared in each block that uses them. The files say
 * `local` throughout and need not know. Pure.
 */

export interface LuaFile {
  readonly name: string;
  readonly text: string;
}

const DECLARATION = /^local (?:function (?<one>\w+)|(?<many>\w+(?:, \w+)*))(?<rest>.*)$/gm;

/** The files as one text, in their order, each in a block. */
export function scopeFiles(files: readonly LuaFile[], constants: Readonly<Record<string, number>> = {}): string {
  const words = files.map(({ text }) => new Set(withoutComments(text).match(/\b[A-Za-z_]\w*\b/g)));
  const shared = files.map(({ text }, index) => {
    const later = words.slice(index + 1);
    return new Set(declaredIn(text).filter((name) => later.some((used) => used.has(name))));
  });
  const names = [...new Set(shared.flatMap((each) => [...each]))];
  const blocks = files.map(({ name, text }, index) => {
    const used = Object.entries(constants).filter(([constant]) => words[index]?.has(constant));
    const values = used.map(([constant, value]) => `local ${constant} = ${value}`);
    return [`-- ${name}.lua`, 'do', ...values, opened(text, shared[index] ?? new Set()), 'end'].join('\n');
  });
  return [`local ${names.join(', ')}`, ...blocks].join('\n');
}

function declaredIn(text: string): readonly string[] {
  return [...text.matchAll(DECLARATION)].flatMap(
    ({ groups }) => groups?.['one'] ?? groups?.['many']?.split(', ') ?? [],
  );
}

/** Turns declarations of shared names into assignments; its private names stay local. */
function opened(text: string, shared: ReadonlySet<string>): string {
  return text.replace(DECLARATION, (line: string, ...groups: unknown[]) => {
    const { one, many, rest = '' } = groups.at(-1) as Readonly<Record<string, string | undefined>>;
    const all = one === undefined ? (many ?? '').split(', ') : [one];
    if (!all.some((name) => shared.has(name))) return line;
    if (one !== undefined) return `function ${one}${rest}`;
    const own = all.filter((name) => !shared.has(name));
    const before = own.length > 0 ? `local ${own.join(', ')}; ` : '';
    return before + (rest.includes('=') ? `${many}${rest}` : `${many} = nil${rest}`);
  });
}

function withoutComments(text: string): string {
  return text.replace(/--.*$/gm, '');
}
