/** The `Active` condition of accounts and quotas: what keeps them from granting, when it is not a matter of counters. */
import type { StopSpec } from '../api/v1alpha1/stops.ts';
import type { NodeName } from '../../sidecar/engine/tree-terms.ts';
import type { Moment } from './moment.ts';
import { ACCOUNT_NODE } from './names.ts';
import type { Placed } from './placement.ts';
import type { Root } from './roots.ts';
import { isHeld } from './stops.ts';
import type { CompiledAccount, Fault, NodeVerdict } from './terms.ts';

/** One compiled tree with what its quotas' verdicts need. */
export interface Branch {
  readonly root: Root;
  readonly account: CompiledAccount;
  readonly placed: ReadonlyMap<NodeName, Placed>;
  readonly overcommitted: ReadonlyMap<NodeName, string | null>;
  readonly moment: Moment;
}

export const ACTIVE: NodeVerdict = {
  active: true,
  reason: 'QuotaActive',
  message: 'limits are in force',
  blockedBy: null,
};

export function accountVerdict(root: Root, deliveryFault: Fault | null, moment: Moment): NodeVerdict {
  if (root.fault) return faultVerdict(root.fault, root.nodes !== null);
  if (deliveryFault) return { active: false, ...deliveryFault, blockedBy: ACCOUNT_NODE };
  const isStopped = root.nodes !== null && isHeld(root.nodes.account, moment);
  return isStopped ? stopVerdict(ACCOUNT_NODE, root.account?.spec.stop) : ACTIVE;
}

/** `kept`: the object's last good limits are in force. */
export function faultVerdict(fault: Fault, kept: boolean): NodeVerdict {
  const consequence = kept ? 'its last good limits stay in force' : 'it grants nothing until then';
  return { active: false, reason: fault.reason, message: `${fault.message} (${consequence})`, blockedBy: null };
}

/** `path`: the quota's node and those above it. Its own stop comes first, then the account's state, then stops above. */
export function quotaVerdict(path: readonly NodeName[], { placed, moment, account, root }: Branch): NodeVerdict {
  const isStopped = (node: NodeName): boolean => {
    const config = placed.get(node)?.config;
    return config !== undefined && isHeld(config, moment);
  };
  const stopOf = (node: NodeName): StopSpec | null | undefined => placed.get(node)?.link?.quota?.spec.stop;
  const [own = '', ...above] = path;
  if (isStopped(own)) return stopVerdict(own, stopOf(own));
  if (!account.verdict.active && account.verdict.blockedBy !== null)
    return accountBlocks(`GLMAccount ${root.id}`, account.verdict);
  const holder = above.find(isStopped);
  if (holder === undefined) return ACTIVE;
  const message = `${holder} above is ${describeStop(stopOf(holder))}`;
  return { active: false, reason: 'ParentStopped', message, blockedBy: holder };
}

function accountBlocks(what: string, { reason, message }: NodeVerdict): NodeVerdict {
  return reason === 'Stopped'
    ? { active: false, reason: 'ParentStopped', message: `${what} is ${message}`, blockedBy: ACCOUNT_NODE }
    : { active: false, reason, message: `${what}: ${message}`, blockedBy: ACCOUNT_NODE };
}

function stopVerdict(node: NodeName, stop: StopSpec | null | undefined): NodeVerdict {
  return { active: false, reason: 'Stopped', message: describeStop(stop), blockedBy: node };
}

function describeStop(stop: StopSpec | null | undefined): string {
  const reason = stop?.reason ? ` (${stop.reason})` : '';
  const untilMs = stop?.untilMs ?? null;
  const until = untilMs === null ? '' : ` until ${new Date(untilMs).toISOString()}`;
  return `held by spec.stop${reason}${until}; set policy: None to go on`;
}
