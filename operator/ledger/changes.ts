/** Other limits for a tree of the past. Pure. */
import { amountIn } from '../api/v1alpha1/amounts.ts';
import { compileLocal, type PlanInput } from '../local/plan.ts';
import { objectId, type ObjectKey } from '../trees/names.ts';
import { AppError } from '../../sidecar/base/errors.ts';
import type { Change } from '../../sidecar/engine/ledger/simulation.ts';
import { validateTree } from '../../sidecar/engine/tree-bounds.ts';
import type { NodeConfig, TreeConfig } from '../../sidecar/engine/tree-terms.ts';
import type { LimitSetting } from './arguments.ts';

/** The tree of the account as these objects describe it. Fails with `invalid` when they do not describe one. */
export function treeOfObjects(input: Omit<PlanInput, 'quota'>, account: ObjectKey): TreeConfig {
  const compiled = compileLocal(input);
  if (!compiled.ok) throw new AppError('invalid', compiled.problems.join('\n'));
  const id = objectId(account);
  const found = compiled.world.accounts.get(id);
  if (!found) throw new AppError('invalid', `the files have no GLMAccount ${id}`);
  if (!found.tree) throw new AppError('invalid', `GLMAccount ${id}: ${describe(found.verdict)}`);
  return found.tree;
}

function describe(verdict: { readonly active: boolean; readonly reason?: string; readonly message?: string }): string {
  return [verdict.reason, verdict.message].filter((each) => each !== undefined).join(': ') || 'has no tree';
}

/**
 * Another tree in the place of those of the ledger, then its limits one by one; `other` null: their own tree. A change
 * fails with `invalid` when a tree lacks the limit or must not have it so.
 */
export function changeOf(other: TreeConfig | null, settings: readonly LimitSetting[]): Change {
  return (tree) => {
    const base = other === null ? tree : { ...other, key: tree.key, account: tree.account };
    const changed = settings.reduce(withLimit, base);
    validateTree(changed);
    return changed;
  };
}

function withLimit(tree: TreeConfig, setting: LimitSetting): TreeConfig {
  const found = nodeOf(tree, setting);
  const changed = setting.limit === 'concurrency' ? withSlots(found, setting) : withAmount(found, setting);
  return { ...tree, nodes: tree.nodes.map((node) => (node === found ? changed : node)) };
}

/** By its whole name, or a quota by `namespace/name` or, where that is clear, its name. */
function nodeOf({ nodes }: TreeConfig, { node: text }: LimitSetting): NodeConfig {
  const exact = nodes.find(({ name }) => name === text || name === `quota:${text}`);
  const [only, ...others] = exact ? [exact] : nodes.filter(({ name }) => name.endsWith(`/${text}`));
  if (only && others.length === 0) return only;
  const known = nodes.map(({ name }) => name).join(', ');
  throw new AppError(
    'invalid',
    `--limit ${text}: ${only ? 'several nodes have' : 'no node has'} that name; there are ${known}`,
  );
}

function withSlots(node: NodeConfig, { amount }: LimitSetting): NodeConfig {
  if (!/^\d{1,9}$/.test(amount))
    throw new AppError('invalid', `--limit ${node.name}/concurrency: not a whole number: ${amount}`);
  const concurrency = Number(amount);
  const { adaptive } = node;
  const fitted = adaptive && { min: Math.min(adaptive.min, concurrency), start: Math.min(adaptive.start, concurrency) };
  return { ...node, concurrency, adaptive: fitted };
}

function withAmount(node: NodeConfig, { limit: name, amount: text }: LimitSetting): NodeConfig {
  const limit = node.limits.find((each) => each.name === name);
  if (!limit) {
    const known = ['concurrency', ...node.limits.map((each) => each.name)].join(', ');
    throw new AppError('invalid', `--limit ${node.name}/${name}: it has no such limit; there are ${known}`);
  }
  const parsed = amountIn(limit.resource, text, `--limit ${node.name}/${name}`);
  if (!parsed.ok)
    throw new AppError('invalid', parsed.problems.map(({ path, message }) => `${path}: ${message}`).join('\n'));
  const amount = parsed.value;
  return { ...node, limits: node.limits.map((each) => (each === limit ? { ...each, amount } : each)) };
}
