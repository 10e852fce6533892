/** The mutation check as a part of a longer run. */
import { leftOutIn, type Outcome, type Surroundings } from '../../parts.ts';
import { checkMutants, type CheckOptions } from './check.ts';

export async function runMutants({ signal }: Surroundings, options: Pick<CheckOptions, 'fast'> = {}): Promise<Outcome> {
  const leftOut: string[] = [];
  const log = (line: string): void => {
    console.log(line);
    leftOut.push(...leftOutIn(line));
  };
  const { killed, failed } = await checkMutants({ ...options, signal, log });
  return { passed: killed, failed, leftOut };
}
