/** From the wire to what the sidecar works with. Everything is checked here; nothing behind it checks again. */
import type {
  Catalog as WireCatalog,
  Redis,
  Revision as WireRevision,
  Schedule,
  Snapshot,
  Upstream,
} from '../../proto/gen/glmquota/v1/control_pb.ts';
import { AppError } from '../base/errors.ts';
import type { CatalogSchedule, Currency } from '../catalog/terms.ts';
import { parseRedisUrl } from '../engine/redis-url.ts';
import type { Revision } from '../engine/tree-terms.ts';
import { decodeBinding } from './decode-binding.ts';
import { BILLINGS, ERROR_CLASSES } from './enums.ts';
import { integer, known, optional, present, text, within } from './fields.ts';
import type { SidecarSnapshot } from './terms.ts';
import { isOlder, type SidecarVersion } from './version.ts';

/**
 * The snapshot for this version of the sidecar. Fails with `unsupported` (UpgradeRequired) when it says something this
 * version does not know or asks for a newer one, with `invalid` when it contradicts the protocol.
 */
export function decodeSnapshot(snapshot: Snapshot, version: SidecarVersion): SidecarSnapshot {
  assertSupported(snapshot, version);
  const binding = decodeBinding(present(snapshot.binding, 'binding'));
  return {
    revision: decodeRevision(present(snapshot.revision, 'revision')),
    binding,
    catalog: decodeCatalog(present(snapshot.catalog, 'catalog'), binding.currency),
    upstream: decodeUpstream(present(snapshot.upstream, 'upstream')),
    redis: decodeRedis(present(snapshot.redis, 'redis')),
  };
}

function assertSupported(snapshot: Snapshot, version: SidecarVersion): void {
  if (!version.engineVersions.includes(snapshot.engineVersion)) {
    const ours = version.engineVersions.join(', ');
    const message = `UpgradeRequired: the operator runs engine ${snapshot.engineVersion}, this sidecar can call ${ours}`;
    throw new AppError('unsupported', message);
  }
  if (isOlder(version.sidecarVersion, text(snapshot.minSidecarVersion, /^\d+\.\d+\.\d+$/, 'min_sidecar_version'))) {
    const message = `UpgradeRequired: the operator needs sidecars of ${snapshot.minSidecarVersion} or newer, this is ${version.sidecarVersion}`;
    throw new AppError('unsupported', message);
  }
}

function decodeRevision(revision: WireRevision): Revision {
  return {
    leaseCreatedMs: integer(revision.leaseCreatedMs, 'revision.lease_created_ms'),
    transitions: integer(revision.transitions, 'revision.transitions'),
    generation: integer(revision.generation, 'revision.generation'),
  };
}

function decodeUpstream(upstream: Upstream): SidecarSnapshot['upstream'] {
  return {
    origin: decodeOrigin(upstream.origin),
    billing: known(BILLINGS, upstream.billing, 'upstream.billing'),
    apiKey: text(upstream.apiKey, /^[\x21-\x7e]{1,4096}$/, 'upstream.api_key'),
    caPem: optional(upstream.caPem),
  };
}

function decodeOrigin(origin: string): string {
  const url = URL.parse(origin);
  const secure = url?.protocol === 'https:' || (url?.protocol === 'http:' && isLoopback(url.hostname));
  if (!secure || url.origin !== origin) {
    throw new AppError('invalid', 'upstream.origin must be https (http on loopback) with host and port only');
  }
  return origin;
}

function decodeRedis(redis: Redis): SidecarSnapshot['redis'] {
  parseRedisUrl(redis.url);
  const sentinel = { username: redis.sentinelUsername, password: redis.sentinelPassword };
  return {
    url: redis.url,
    username: optional(redis.username),
    password: optional(redis.password),
    caPem: optional(redis.caPem),
    ...(sentinel.username === '' ? {} : { sentinel }),
  };
}

function isLoopback(hostname: string): boolean {
  return /^(127(\.\d{1,3}){3}|localhost|\[::1\])$/.test(hostname);
}

function decodeCatalog(catalog: WireCatalog, currency: Currency): SidecarSnapshot['catalog'] {
  return {
    models: catalog.models.map((model, i) => ({
      name: text(model.name, /./, `catalog.models[${i}].name`),
      aliases: model.aliases,
      suffixes: model.suffixes,
    })),
    prices: catalog.prices.map((price, i) => ({
      model: price.model,
      currency,
      tiers: price.tiers.map((tier, j) => {
        const path = `catalog.prices[${i}].tiers[${j}]`;
        const upTo = integer(tier.upToInputTokens, `${path}.up_to_input_tokens`);
        return {
          upToInputTokens: upTo === 0 ? null : upTo,
          inputNano: integer(tier.inputNano, `${path}.input_nano`),
          cachedNano: integer(tier.cachedNano, `${path}.cached_nano`),
          outputNano: integer(tier.outputNano, `${path}.output_nano`),
        };
      }),
    })),
    credits: catalog.credits.map((credit, i) => ({
      model: credit.model,
      inputMicro: integer(credit.inputMicro, `catalog.credits[${i}].input_micro`),
      cachedMicro: integer(credit.cachedMicro, `catalog.credits[${i}].cached_micro`),
      outputMicro: integer(credit.outputMicro, `catalog.credits[${i}].output_micro`),
    })),
    schedule: decodeSchedule(present(catalog.schedule, 'catalog.schedule')),
    errors: catalog.errors.map((error, i) => ({
      code: error.code,
      class: known(ERROR_CLASSES, error.class, `catalog.errors[${i}].class`),
    })),
  };
}

function decodeSchedule(schedule: Schedule): CatalogSchedule {
  return {
    timeZone: decodeTimeZone(schedule.timeZone),
    peak: schedule.peak.map((hours, i) => {
      const path = `catalog.schedule.peak[${i}]`;
      return {
        weekdays: hours.weekdays.map((day, j) => within(day, [1, 7], `${path}.weekdays[${j}]`)),
        fromMinute: within(hours.fromMinute, [0, 1440], `${path}.from_minute`),
        toMinute: within(hours.toMinute, [0, 1440], `${path}.to_minute`),
      };
    }),
    peakFactorPpm: schedule.peakFactorPpm,
    offPeakFactorPpm: schedule.offPeakFactorPpm,
    promotions: schedule.promotions.map((promotion, i) => ({
      name: promotion.name,
      fromMs: integer(promotion.fromMs, `catalog.schedule.promotions[${i}].from_ms`),
      untilMs: integer(promotion.untilMs, `catalog.schedule.promotions[${i}].until_ms`),
      models: promotion.models,
      factorPpm: promotion.factorPpm,
    })),
  };
}

function decodeTimeZone(timeZone: string): string {
  try {
    Intl.DateTimeFormat('en', { timeZone });
    return timeZone;
  } catch (cause) {
    const message = `UpgradeRequired: catalog.schedule.time_zone is ${timeZone}, which this version does not know`;
    throw new AppError('unsupported', message, { cause });
  }
}
