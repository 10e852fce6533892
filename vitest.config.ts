import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';

/** The runner would leave one processor to itself: of two, that is half of the machine. Files share nothing. */
const maxWorkers = Math.max(2, availableParallelism() - 1);

const PROOF = {
  include: ['test/proof/**/*.test.ts'],
  globalSetup: ['test/proof/stand/program.ts'],
  testTimeout: 600_000,
  hookTimeout: 120_000,
  maxConcurrency: 5,
  maxWorkers,
};

/** Fast projects (`unit`, `arch`) are part of `npm run check`; the others need what `test/setup.sh` installs. */
export default defineConfig({
  test: {
    projects: [
      { test: { name: 'unit', include: ['test/unit/**/*.test.ts'], maxWorkers } },
      { test: { name: 'arch', include: ['test/arch/**/*.test.ts'], maxWorkers } },
      {
        test: {
          name: 'property',
          include: ['test/property/**/*.test.ts'],
          maxWorkers,
          testTimeout: 300_000,
          hookTimeout: 120_000,
        },
      },
      {
        test: {
          name: 'integration',
          include: ['test/integration/**/*.test.ts'],
          maxWorkers,
          testTimeout: 60_000,
          hookTimeout: 120_000,
        },
      },
      {
        // The engine as scripts instead of functions (sidecar/engine/caller.ts): the same suites once more.
        test: {
          name: 'scripts',
          include: ['test/integration/engine/*.test.ts', 'test/property/engine/*.test.ts'],
          // The model against itself asks no Redis.
          exclude: [
            'test/integration/engine/{acl,client-traps,connection,evalsha,servers,topologies}*.test.ts',
            'test/property/engine/self.test.ts',
          ],
          env: { GLMQUOTA_TEST_FORM: 'scripts' },
          maxWorkers,
          testTimeout: 300_000,
        },
      },
      { test: { name: 'simulation', include: ['test/simulation/**/*.test.ts'], maxWorkers, testTimeout: 600_000 } },
      // Real processes and faults; mostly they wait. `npm test` runs the short form, `npm run proof` all of it.
      { test: { name: 'faults', ...PROOF } },
      { test: { name: 'proof', ...PROOF, env: { GLMQUOTA_PROOF: 'full' } } },
      {
        test: {
          name: 'e2e',
          include: ['test/e2e/**/*.test.ts'],
          testTimeout: 300_000,
          hookTimeout: 600_000,
          fileParallelism: false,
        },
      },
    ],
  },
});
