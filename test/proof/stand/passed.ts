import { setTimeout as delay } from 'node:timers/promises';

/** Real time goes by: for faults whose point is how long they last. Nothing is synchronised by it. */
export async function passed(ms: number): Promise<void> {
  await delay(ms);
}
