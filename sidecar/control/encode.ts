/** What `decode.ts` reads. Used by the operator for the wire and by local mode for its file. */
import { create, type MessageInitShape, toJsonString } from '@bufbuild/protobuf';
import {
  type BindingSchema,
  type CatalogSchema,
  type ScheduleSchema,
  type Snapshot,
  SnapshotSchema,
} from '../../proto/gen/glmquota/v1/control_pb.ts';
import type { CatalogSchedule } from '../catalog/terms.ts';
import {
  WIRE_BILLING,
  WIRE_DURABILITY,
  WIRE_ERROR_CLASS,
  WIRE_PRIORITY_CLASS,
  WIRE_STORE_POLICY,
  WIRE_WAIT_MODE,
} from './enums.ts';
import type { SidecarSnapshot } from './terms.ts';

/** What the sender demands of its readers. */
export interface SnapshotDemands {
  /** Version of the engine library in Redis. */
  readonly engineVersion: string;
  /** `major.minor.patch`. */
  readonly minSidecarVersion: string;
}

/** The message for a snapshot. Amounts must be integers of 0 to 2^53 - 1, as everywhere. */
export function encodeSnapshot(snapshot: SidecarSnapshot, demands: SnapshotDemands): Snapshot {
  const { revision, binding, upstream, redis } = snapshot;
  return create(SnapshotSchema, {
    revision: {
      leaseCreatedMs: BigInt(revision.leaseCreatedMs),
      transitions: BigInt(revision.transitions),
      generation: BigInt(revision.generation),
    },
    engineVersion: demands.engineVersion,
    minSidecarVersion: demands.minSidecarVersion,
    binding: encodeBinding(binding),
    catalog: encodeCatalog(snapshot.catalog),
    upstream: {
      origin: upstream.origin,
      billing: WIRE_BILLING[upstream.billing],
      apiKey: upstream.apiKey,
      caPem: upstream.caPem ?? '',
    },
    redis: {
      url: redis.url,
      username: redis.username ?? '',
      password: redis.password ?? '',
      caPem: redis.caPem ?? '',
      sentinelUsername: redis.sentinel?.username ?? '',
      sentinelPassword: redis.sentinel?.password ?? '',
    },
  });
}

function encodeBinding(binding: SidecarSnapshot['binding']): MessageInitShape<typeof BindingSchema> {
  const { waiting, onStoreFailure, retry } = binding;
  return {
    treeKey: binding.treeKey,
    quota: binding.quota,
    leaf: binding.leaf,
    path: [...binding.path],
    currency: binding.currency,
    perAgentConcurrency: binding.perAgentConcurrency ?? 0,
    maxRuntimeMs: BigInt(binding.maxRuntimeMs),
    waiting: { mode: WIRE_WAIT_MODE[waiting.mode], maxWaitMs: BigInt(waiting.maxWaitMs) },
    defaultClass: WIRE_PRIORITY_CLASS[binding.class.default],
    maxClass: WIRE_PRIORITY_CLASS[binding.class.max],
    attributes: { ...binding.attributes },
    drained: binding.drained,
    durability: WIRE_DURABILITY[binding.durability],
    onStoreFailure: {
      policy: WIRE_STORE_POLICY[onStoreFailure.policy],
      localSharePercent: onStoreFailure.localSharePercent,
      maxDurationMs: BigInt(onStoreFailure.maxDurationMs),
    },
    retry: {
      maxAttempts: retry.maxAttempts,
      baseDelayMs: BigInt(retry.baseDelayMs),
      factorPermille: retry.factorPermille,
      maxDelayMs: BigInt(retry.maxDelayMs),
    },
  };
}

/** The text of a file that `fileSource` reads. It holds the key: write it readable by its owner only. */
export function renderSnapshotFile(snapshot: SidecarSnapshot, demands: SnapshotDemands): string {
  return toJsonString(SnapshotSchema, encodeSnapshot(snapshot, demands), { prettySpaces: 2 });
}

function encodeCatalog(catalog: SidecarSnapshot['catalog']): MessageInitShape<typeof CatalogSchema> {
  return {
    models: catalog.models.map(({ name, aliases, suffixes }) => ({
      name,
      aliases: [...aliases],
      suffixes: [...suffixes],
    })),
    prices: catalog.prices.map(({ model, tiers }) => ({
      model,
      tiers: tiers.map((tier) => ({
        upToInputTokens: BigInt(tier.upToInputTokens ?? 0),
        inputNano: BigInt(tier.inputNano),
        cachedNano: BigInt(tier.cachedNano),
        outputNano: BigInt(tier.outputNano),
      })),
    })),
    credits: catalog.credits.map((credit) => ({
      model: credit.model,
      inputMicro: BigInt(credit.inputMicro),
      cachedMicro: BigInt(credit.cachedMicro),
      outputMicro: BigInt(credit.outputMicro),
    })),
    schedule: encodeSchedule(catalog.schedule),
    errors: catalog.errors.map((error) => ({ code: error.code, class: WIRE_ERROR_CLASS[error.class] })),
  };
}

function encodeSchedule(schedule: CatalogSchedule): MessageInitShape<typeof ScheduleSchema> {
  return {
    timeZone: schedule.timeZone,
    peak: schedule.peak.map((hours) => ({ ...hours, weekdays: [...hours.weekdays] })),
    peakFactorPpm: schedule.peakFactorPpm,
    offPeakFactorPpm: schedule.offPeakFactorPpm,
    promotions: schedule.promotions.map((promotion) => ({
      name: promotion.name,
      fromMs: BigInt(promotion.fromMs),
      untilMs: BigInt(promotion.untilMs),
      models: [...promotion.models],
      factorPpm: promotion.factorPpm,
    })),
  };
}
