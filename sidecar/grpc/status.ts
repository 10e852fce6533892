/** What LeaseService.Status shows: the nodes this process' calls are counted on, nobody else's. */
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { NodeStatusSchema, StatusResponseSchema } from '../../proto/gen/glmquota/v1/lease_pb.ts';
import { AppError } from '../base/errors.ts';
import type { NodeSnapshot, TreeSnapshot } from '../engine/terms.ts';
import type { NodeName } from '../engine/tree-terms.ts';
import type { WaitingCall } from '../leases/terms.ts';

export interface StatusPort {
  /** The binding in force; null: no configuration has arrived. */
  binding(): { readonly quota: string; readonly path: readonly NodeName[] } | null;
  /** The tree as Redis has it; null: it holds none yet. Fails with `unavailable` when Redis cannot be asked. */
  snapshot(signal: AbortSignal): Promise<TreeSnapshot | null>;
}

/** Fails with `unavailable` before the first configuration and while Redis is away. */
export async function encodeStatus(
  port: StatusPort,
  waiting: readonly WaitingCall[],
  signal: AbortSignal,
): Promise<MessageInitShape<typeof StatusResponseSchema>> {
  const binding = port.binding();
  const tree = binding && (await port.snapshot(signal));
  if (!tree) throw new AppError('unavailable', 'no configuration has arrived from the operator yet');
  const byName = new Map(tree.nodes.map((node) => [node.name, node]));
  const nodes = binding.path.flatMap((name) => byName.get(name) ?? []);
  return { quota: binding.quota, nodes: nodes.map(encodeNode), waiting: waiting.map(encodeWaiting) };
}

function encodeWaiting({ position, etaMs }: WaitingCall) {
  return { position: BigInt(position), ...(etaMs === null ? {} : { etaMs: BigInt(Math.max(0, Math.round(etaMs))) }) };
}

function encodeNode(node: NodeSnapshot): MessageInitShape<typeof NodeStatusSchema> {
  return {
    name: node.name,
    inFlight: node.inFlight,
    concurrency: node.concurrency ?? 0,
    stopped: node.stopped,
    queued: node.queued,
    frozenUntilMs: BigInt(node.frozenUntilMs ?? 0),
    breaker: node.breaker,
    limits: node.usage.map((usage) => ({
      name: usage.limit,
      resource: usage.resource,
      amount: BigInt(usage.amount),
      used: BigInt(usage.used),
      reserved: BigInt(usage.reserved),
      resetsAtMs: BigInt(usage.resetsAtMs ?? 0),
    })),
  };
}
