import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { expect, test } from 'vitest';

const root = resolve(import.meta.dirname, '../..');

/** Room → rooms it may import besides itself, and packages. A path ending in `.ts` allows that file only. This table is the documentation. */
const ROOMS: Record<string, { rooms: string[]; packages: string[] }> = {
  'sidecar/base': { rooms: [], packages: ['pino', 'prom-client'] },
  'sidecar/engine': { rooms: ['sidecar/base'], packages: ['ioredis'] },
  'sidecar/catalog': {
    rooms: ['sidecar/base', 'sidecar/engine/terms.ts', 'sidecar/engine/tree-terms.ts', 'sidecar/leases/terms.ts'],
    packages: [],
  },
  'sidecar/glm': {
    rooms: [
      'sidecar/base',
      'sidecar/catalog/terms.ts',
      'sidecar/engine/terms.ts',
      'sidecar/engine/tree-terms.ts',
      'sidecar/leases/terms.ts',
      'sidecar/control/terms.ts',
    ],
    packages: [],
  },
  'sidecar/leases': {
    rooms: [
      'sidecar/base',
      'sidecar/engine/terms.ts',
      'sidecar/engine/tree-terms.ts',
      'sidecar/engine/port.ts',
      'sidecar/catalog',
      'sidecar/glm',
      'sidecar/control/terms.ts',
    ],
    packages: ['prom-client'],
  },
  'sidecar/gates': { rooms: ['sidecar/base', 'sidecar/leases/terms.ts', 'sidecar/glm'], packages: [] },
  'sidecar/proxy': {
    rooms: [
      'sidecar/base',
      'sidecar/leases',
      'sidecar/gates',
      'sidecar/glm',
      'sidecar/control/terms.ts',
      'sidecar/catalog/terms.ts',
      'sidecar/engine/terms.ts',
      'sidecar/engine/tree-terms.ts',
    ],
    packages: ['undici', 'prom-client'],
  },
  'sidecar/rpc': { rooms: ['sidecar/base', 'proto/gen/grpc'], packages: ['@grpc/grpc-js', '@bufbuild/protobuf'] },
  'sidecar/grpc': {
    rooms: [
      'sidecar/base',
      'sidecar/leases',
      'sidecar/gates',
      'sidecar/rpc',
      'sidecar/engine/terms.ts',
      'sidecar/engine/tree-terms.ts',
      'sidecar/engine/port.ts',
      'proto/gen',
    ],
    packages: ['@grpc/grpc-js', '@bufbuild/protobuf'],
  },
  'sidecar/control': {
    rooms: [
      'sidecar/base',
      'sidecar/leases/terms.ts',
      'sidecar/rpc',
      'sidecar/catalog/terms.ts',
      'sidecar/engine/terms.ts',
      'sidecar/engine/tree-terms.ts',
      'sidecar/engine/redis-url.ts',
      'proto/gen',
    ],
    packages: ['@grpc/grpc-js', '@bufbuild/protobuf'],
  },
  'operator/runtime': { rooms: ['sidecar/base'], packages: ['@kubernetes/client-node', 'undici', 'prom-client'] },
  'operator/api': {
    rooms: [
      'sidecar/engine/terms.ts',
      'sidecar/engine/tree-terms.ts',
      'sidecar/catalog/terms.ts',
      'sidecar/control/terms.ts',
    ],
    packages: [],
  },
  'operator/trees': {
    rooms: ['operator/api', 'sidecar/engine', 'sidecar/catalog', 'sidecar/base', 'sidecar/control/terms.ts'],
    packages: ['temporal-polyfill'],
  },
  'operator/controllers': { rooms: ['@operator', 'sidecar/control'], packages: ['*'] },
  'operator/edge': { rooms: ['@operator', 'sidecar/control'], packages: ['*'] },
  'operator/certificates': {
    rooms: ['operator/runtime', 'sidecar/base', 'sidecar/engine/connect.ts'],
    packages: ['@peculiar/x509', 'reflect-metadata'],
  },
  'operator/webhook': {
    rooms: ['@operator', 'operator/certificates', 'sidecar/control/terms.ts'],
    packages: ['prom-client'],
  },
  'operator/local': { rooms: ['@operator', 'sidecar/control', 'operator/controllers'], packages: ['*'] },
  'operator/ledger': {
    rooms: ['operator/local', 'operator/trees', 'operator/api', 'sidecar/base', 'sidecar/engine'],
    packages: [],
  },
};

/** What every acting room of the operator may import. */
const OPERATOR_BASE = [
  'operator/trees',
  'operator/runtime',
  'operator/api',
  'sidecar/base',
  'sidecar/engine',
  'sidecar/catalog',
  'sidecar/glm',
  'sidecar/rpc',
  'proto/gen',
];

/** Files of a pure kind inside rooms that otherwise do I/O. */
const PURE_FILES = [
  'sidecar/engine/model.ts',
  'sidecar/engine/tree.ts',
  'sidecar/engine/terms.ts',
  'sidecar/engine/tree-terms.ts',
  'sidecar/engine/port.ts',
];

interface Import {
  file: string;
  target: string;
  isPackage: boolean;
}

function sources(folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
    .map((entry) => relative(root, join(entry.parentPath, entry.name)));
}

function importsOf(file: string): Import[] {
  const text = readFileSync(join(root, file), 'utf8');
  const found = text.matchAll(
    /(?:^|\n)\s*(?:import|export)\b[^;'"]*?from\s+'([^']+)'|import\(\s*'([^']+)'|(?:^|\n)import\s+'([^']+)'/g,
  );
  return [...found].flatMap((match): Import[] => {
    const target = match[1] ?? match[2] ?? match[3] ?? '';
    if (target.startsWith('node:')) return [];
    if (target.startsWith('.'))
      return [{ file, target: relative(root, resolve(root, dirname(file), target)), isPackage: false }];
    if (target.startsWith('#')) return [{ file, target, isPackage: false }];
    const name = target
      .split('/')
      .slice(0, target.startsWith('@') ? 2 : 1)
      .join('/');
    return [{ file, target: name, isPackage: true }];
  });
}

function roomOf(file: string): string | undefined {
  return Object.keys(ROOMS).find((room) => file.startsWith(`${room}/`));
}

function mayImport(room: string, target: string): boolean {
  const allowed = (ROOMS[room]?.rooms ?? []).flatMap((each) => (each === '@operator' ? OPERATOR_BASE : [each]));
  return [room, ...allowed].some((each) => target === each || target.startsWith(`${each}/`));
}

const all = [...sources('sidecar'), ...sources('operator')].flatMap((file) => importsOf(file));

test('every room imports only the rooms its row of the table names', () => {
  const breaches = all.flatMap(({ file, target, isPackage }) => {
    const room = roomOf(file);
    if (isPackage || room === undefined) return [];
    return mayImport(room, target) ? [] : [`${file} imports ${target}`];
  });
  expect(breaches).toEqual([]);
});

test('every room uses only the packages its row of the table names', () => {
  const breaches = all.flatMap(({ file, target, isPackage }) => {
    const packages = ROOMS[roomOf(file) ?? '']?.packages ?? ['*'];
    return !isPackage || packages.includes('*') || packages.includes(target) ? [] : [`${file} imports ${target}`];
  });
  expect(breaches).toEqual([]);
});

test('pure engine files import no package', () => {
  expect(all.filter(({ file, isPackage }) => isPackage && PURE_FILES.includes(file))).toEqual([]);
});

test('ioredis is known to the files that open and tell apart connections only', () => {
  const users = new Set(all.filter(({ target }) => target === 'ioredis').map(({ file }) => file));
  const allowed = ['connect', 'topology', 'route', 'confirm', 'subscriptions', 'servers'].map(
    (name) => `sidecar/engine/${name}.ts`,
  );
  expect([...users].filter((file) => !allowed.includes(file))).toEqual([]);
});

test('the sidecar never imports the operator or the Kubernetes client', () => {
  const breaches = all.filter(
    ({ file, target }) =>
      file.startsWith('sidecar/') && (target.startsWith('operator') || target === '@kubernetes/client-node'),
  );
  expect(breaches).toEqual([]);
});

test('nothing imports a composition root, and only that reads the configuration', () => {
  expect(all.filter(({ target }) => /(^|\/)main\.ts$/.test(target))).toEqual([]);
  const readers = all.filter(
    ({ file, target }) => /^(sidecar|operator)\/config\.ts$/.test(target) && !file.endsWith('/main.ts'),
  );
  expect(readers).toEqual([]);
});

test('the simulator imports nothing of ours', () => {
  const breaches = sources('test/support/glm-simulator')
    .flatMap((file) => importsOf(file))
    .filter(({ target, isPackage }) => !isPackage && !target.startsWith('test/support/glm-simulator/'));
  expect(breaches).toEqual([]);
});
