/** Which calls a scope node counts. */
import type { ScopeConfig } from '../../../sidecar/engine/tree-terms.ts';
import { checked, list, object, oneOf, optional, string, withDefault, type Parser } from './parse.ts';
import { label, modelName } from './scalars.ts';

/** As the engine has it; pools by their own names. */
export type MatchSpec = ScopeConfig;

/** What callers and pools call a tool, a capability, a source, a user. */
const attribute: Parser<string> = string({
  min: 1,
  max: 128,
  pattern: /^[!-{}~]+$/,
  hint: 'must be printable ASCII without spaces and without "|"',
});
const poolName: Parser<string> = string({
  min: 1,
  max: 253,
  pattern: /^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/,
  hint: 'must be the name of an AgentPool',
});

const values = (item: Parser<string>): Parser<readonly string[]> => withDefault(list(item, { max: 32 }), []);

/** Null when the field is absent: an ordinary node. */
export const match: Parser<MatchSpec | null> = optional(
  checked(
    object<MatchSpec>({
      models: values(modelName),
      tools: values(attribute),
      capabilities: values(attribute),
      sources: values(attribute),
      users: values(attribute),
      pools: values(poolName),
      namespaces: values(label()),
      unset: withDefault(oneOf(['Match', 'Skip']), 'Match'),
    }),
    ({ unset: _unset, ...lists }, at) => {
      if (Object.values(lists).every((each) => each.length === 0))
        at.fail('needs at least one list that is not empty; without match the quota counts all calls of its pods');
    },
  ),
);
