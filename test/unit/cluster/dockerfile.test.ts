import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { expect, test } from 'vitest';
import { GLMQUOTA_ENTRYPOINT } from '#test/cluster/images/contents.ts';
import { imageConfig } from '#test/cluster/images/oci.ts';

const dockerfile = readFileSync(resolve(import.meta.dirname, '../../../Dockerfile'), 'utf8');
const lastStage = dockerfile.slice(dockerfile.lastIndexOf('\nFROM ')).trim().split('\n');

function instruction(name: string): string[] {
  return lastStage.filter((line) => line.startsWith(`${name} `)).map((line) => line.slice(name.length + 1));
}

test('the Dockerfile configures the image as the archive built without Docker', () => {
  expect({
    User: instruction('USER')[0],
    Env: instruction('ENV'),
    Entrypoint: JSON.parse(instruction('ENTRYPOINT')[0] ?? '[]') as unknown,
    WorkingDir: instruction('WORKDIR')[0],
  }).toEqual(imageConfig({ layers: [], entrypoint: GLMQUOTA_ENTRYPOINT }));
});

test("the Dockerfile's image holds the file list's files and nothing else", () => {
  expect(lastStage[0]).toBe('FROM scratch');
  expect(instruction('COPY')).toEqual(['--from=build /rootfs/ /']);
  expect(dockerfile).toContain('images/build.ts glmquota --rootfs /rootfs');
});
