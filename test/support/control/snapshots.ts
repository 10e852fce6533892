/** A snapshot with something in every field. */
import type { SidecarSnapshot } from '#sidecar/control/terms.ts';
import type { SnapshotDemands } from '#sidecar/control/encode.ts';
import type { SidecarVersion } from '#sidecar/control/version.ts';

export const VERSION: SidecarVersion = { sidecarVersion: '0.1.0', engineVersions: ['1'] };
export const DEMANDS: SnapshotDemands = { engineVersion: '1', minSidecarVersion: '0.1.0' };

/** `generation` orders the snapshots of one test. */
export function exampleSnapshot(generation = 1): SidecarSnapshot {
  return {
    revision: { leaseCreatedMs: 1_790_000_000_000, transitions: 3, generation },
    binding: {
      treeKey: 'abcdefghijklmnopqrstuvwxyz',
      quota: 'glm/team-a',
      leaf: 'quota:glm/team-a',
      path: ['quota:glm/team-a', 'quota:glm/org', 'account'],
      currency: 'USD',
      perAgentConcurrency: 2,
      maxRuntimeMs: 3_600_000,
      waiting: { mode: 'UntilWindow', maxWaitMs: 240_000 },
      class: { default: 'Normal', max: 'High' },
      attributes: { namespace: 'team-a', pool: 'reviewers' },
      drained: false,
      durability: 'Async',
      onStoreFailure: { policy: 'Closed', localSharePercent: 50, maxDurationMs: 300_000 },
      retry: { maxAttempts: 4, baseDelayMs: 1000, factorPermille: 2000, maxDelayMs: 30_000 },
    },
    catalog: {
      models: [{ name: 'glm-5.3', aliases: ['glm-latest'], suffixes: ['[1m]'] }],
      prices: [
        {
          model: 'glm-5.3',
          currency: 'USD',
          tiers: [
            { upToInputTokens: 32_000, inputNano: 600_000_000, cachedNano: 110_000_000, outputNano: 2_200_000_000 },
            { upToInputTokens: null, inputNano: Number.MAX_SAFE_INTEGER, cachedNano: 0, outputNano: 1 },
          ],
        },
      ],
      credits: [{ model: 'glm-5.3', inputMicro: 10, cachedMicro: 2, outputMicro: 40 }],
      schedule: {
        timeZone: 'Asia/Shanghai',
        peak: [{ weekdays: [1, 2, 7], fromMinute: 840, toMinute: 1440 }],
        peakFactorPpm: 1_000_000,
        offPeakFactorPpm: 500_000,
        promotions: [{ name: 'autumn', fromMs: 1, untilMs: 2, models: ['glm-5.3'], factorPpm: 250_000 }],
      },
      errors: [
        { code: '1302', class: 'Concurrency' },
        { code: '1303', class: 'Rate' },
        { code: '1305', class: 'Overload' },
        { code: '1308', class: 'Quota' },
        { code: '1313', class: 'AccountStop' },
        { code: '1214', class: 'ClientError' },
        { code: '500', class: 'Retry' },
      ],
    },
    upstream: { origin: 'https://llm.example.com:8443', billing: 'CodingPlan', apiKey: 'id.secret', caPem: null },
    redis: { url: 'rediss://redis.glm.svc:6379', username: 'sidecar', password: 'p', caPem: 'PEM' },
  };
}
