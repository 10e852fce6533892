/**
 * BullMQ as a gate: a call is a job, `setGlobalConcurrency` says how many run at once, and its caller waits for the event
 * that tells that it has ended. A job runs in whichever worker takes it: it cannot be sent back to its caller's pod.
 */
import { Queue, QueueEvents, Worker } from 'bullmq';
import type { Gate } from '../engine/contention.ts';

const QUEUE = 'bench';
const WORKERS = 20;

export async function openBullMq(
  { port }: { readonly port: number },
  { slots }: { readonly slots: number },
): Promise<Gate> {
  await using stack = new AsyncDisposableStack();
  const connection = { host: '127.0.0.1', port, maxRetriesPerRequest: null };
  const queue = new Queue<number>(QUEUE, { connection });
  stack.defer(() => queue.close());
  await queue.setGlobalConcurrency(slots);
  const events = new QueueEvents(QUEUE, { connection });
  // Every waiting caller listens to both.
  queue.setMaxListeners(0);
  events.setMaxListeners(0);
  stack.defer(() => events.close());
  await events.waitUntilReady();
  const tasks = new Map<number, () => Promise<void>>();
  const perform = async (caller: number): Promise<void> => tasks.get(caller)?.();
  for (let index = 0; index < WORKERS; index++) {
    const worker = new Worker<number>(QUEUE, (job) => perform(job.data), { connection, concurrency: 1 });
    worker.on('error', (error) => console.error(`bullmq: ${error.message}`));
    stack.defer(() => worker.close());
    await worker.waitUntilReady();
  }
  const owned = stack.move();
  return {
    run: async (caller, work) => {
      tasks.set(caller, work);
      const job = await queue.add('call', caller, { removeOnComplete: 1000, removeOnFail: true });
      await job.waitUntilFinished(events);
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
