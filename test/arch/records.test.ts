/** Whoever changes how records are stored raises the engine's version, so that no release reads those of another. */
import { createHash } from 'node:crypto';
import { expect, test } from 'vitest';
import { functionKeys } from '#sidecar/engine/keys.ts';
import { ENGINE_VERSION } from '#sidecar/engine/library.ts';
import { LUA_SOURCES } from '#sidecar/engine/lua-source.ts';
import { TREE_KEY } from '#test/support/engine.ts';

/** Every `…_FORMAT = …` and `…_FIELDS = …` of the engine, to the end of its value. */
const FORMS = /^local [A-Z_, ]*_(?:FORMAT|FIELDS)[A-Z_, ]* = (?:\{[^}]*\}|.*)$/gm;

test('the forms of records and the field they are told by are those of this version', () => {
  const sources = Object.entries(LUA_SOURCES).toSorted(([one], [other]) => (one < other ? -1 : 1));
  const forms = sources.flatMap(([, text]) => text.match(FORMS) ?? []);
  expect(forms.length).toBe(8);
  const hash = createHash('sha1')
    .update([...functionKeys(TREE_KEY), ...forms].join('\n'))
    .digest('hex')
    .slice(0, 12);
  const [, field] = /^local STATE, .* = '(\w+)'/m.exec(LUA_SOURCES.prelude) ?? [];
  // Another hash: raise ENGINE_VERSION in library.ts and STATE in prelude.lua, then write all three here.
  expect({ version: ENGINE_VERSION, field, hash }).toEqual({ version: 'q3', field: 'state3', hash: '10dee271488f' });
});
