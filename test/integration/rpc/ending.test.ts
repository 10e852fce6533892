import { expect, test, vi } from 'vitest';
import type { AppError } from '#sidecar/base/errors.ts';
import type { CallContext, Handlers } from '#sidecar/rpc/handlers.ts';
import { EchoService } from '#test/support/rpc/echo.ts';
import { latch, serve } from '#test/support/rpc/serving.ts';

function rejection(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)));
}

/** Handlers that say they have begun, then wait for the end of their call and note why it came. */
function waiting(): { handlers: Handlers<typeof EchoService>; begun: Promise<void>; reason: Promise<AppError> } {
  const begun = latch();
  const reason = latch<AppError>();
  const wait = async (context: CallContext): Promise<never> => {
    context.signal.addEventListener('abort', () => reason.open(context.signal.reason as AppError));
    begun.open();
    return rejection(context.signal);
  };
  return {
    handlers: {
      one: (_, context) => wait(context),
      many: async function* (_, context) {
        yield { number: 1 };
        await wait(context);
      },
      collect: async (requests) => {
        for await (const _ of requests) begun.open();
        return {};
      },
      talk: async function* (requests, context) {
        yield* requests;
        await wait(context);
      },
    },
    begun: begun.promise,
    reason: reason.promise,
  };
}

async function drainAll(replies: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of replies);
}

test('a deadline ends the call on both sides with code deadline', async () => {
  const { handlers, reason } = waiting();
  const { client } = await serve(EchoService, handlers);
  await expect(client.one({}, { timeoutMs: 2_000 })).rejects.toMatchObject({ code: 'deadline', transient: true });
  expect((await reason).code).toBe('deadline');
});

test('a deadline ends a server stream on both sides', async () => {
  const { handlers, reason } = waiting();
  const { client } = await serve(EchoService, handlers);
  await expect(drainAll(client.many({}, { timeoutMs: 2_000 }))).rejects.toMatchObject({ code: 'deadline' });
  expect((await reason).code).toBe('deadline');
});

test('an aborted unary call reaches the handler as cancelled and fails with the reason of the signal', async () => {
  const { handlers, begun, reason } = waiting();
  const { client } = await serve(EchoService, handlers);
  const caller = new AbortController();
  const call = client.one({}, { signal: caller.signal });
  await begun;
  const why = new Error('changed my mind');
  caller.abort(why);
  await expect(call).rejects.toBe(why);
  expect((await reason).code).toBe('cancelled');
});

test('a call with an aborted signal is not made', async () => {
  const { handlers } = waiting();
  const { client, server } = await serve(EchoService, handlers);
  const why = new Error('too late');
  await expect(client.one({}, { signal: AbortSignal.abort(why) })).rejects.toBe(why);
  expect(server.liveCalls).toBe(0);
});

test('leaving the iteration of a server stream cancels it on the server', async () => {
  const { handlers, reason } = waiting();
  const { client } = await serve(EchoService, handlers);
  for await (const note of client.many({})) {
    expect(note.number).toBe(1);
    break;
  }
  expect((await reason).code).toBe('cancelled');
});

test('an aborted bidirectional stream reaches the handler while it waits for a request', async () => {
  const { handlers } = waiting();
  const ended = latch<unknown>();
  const { client, server } = await serve(EchoService, {
    ...handlers,
    talk: async function* (requests, { signal }) {
      signal.addEventListener('abort', () => ended.open(signal.reason));
      yield* requests;
    },
  });
  const caller = new AbortController();
  async function* oneThenSilence(): AsyncGenerator<{ number: number }> {
    yield { number: 1 };
    await rejection(caller.signal);
  }
  const reading = (async () => {
    for await (const _ of client.talk(oneThenSilence(), { signal: caller.signal })) caller.abort(new Error('enough'));
  })();
  await expect(reading).rejects.toThrow('enough');
  expect(await ended.promise).toMatchObject({ code: 'cancelled' });
  await vi.waitFor(() => expect(server.liveCalls).toBe(0), 5_000);
});

test('a stopping server ends its calls with unavailable and lets their handlers know', async () => {
  const { handlers, begun, reason } = waiting();
  const { client, server } = await serve(EchoService, handlers);
  const call = client.one({});
  call.catch(() => undefined);
  await begun;
  await server[Symbol.asyncDispose]();
  await expect(call).rejects.toMatchObject({ code: 'unavailable', message: 'the server is stopping' });
  expect((await reason).code).toBe('unavailable');
});

test('a server that is not there makes calls fail with unavailable, and work once it is', async () => {
  const first = await serve(EchoService, waiting().handlers);
  await first.server[Symbol.asyncDispose]();
  await expect(first.client.one({})).rejects.toMatchObject({ code: 'unavailable', transient: true });
  const back = { ...waiting().handlers, one: async () => ({ text: 'back' }) };
  await serve(EchoService, back, { address: first.address });
  await vi.waitFor(async () => expect(await first.client.one({})).toMatchObject({ text: 'back' }), 10_000);
});

test('a reader that stops reading stops the producer after a bounded number of messages', async () => {
  const { handlers } = waiting();
  let produced = 0;
  const text = 'x'.repeat(10_000);
  const { client } = await serve(EchoService, {
    ...handlers,
    many: async function* () {
      for (;;) yield { text, number: ++produced };
    },
  });
  const replies = client.many({})[Symbol.asyncIterator]();
  await replies.next();
  // The producer never waits by itself: when it has not moved for 20 turns of the event loop, it is held back.
  let still = 0;
  for (let last = -1; still < 20; last = produced) {
    await new Promise((resolve) => setTimeout(resolve, 5));
    still = produced === last ? still + 1 : 0;
  }
  const held = produced;
  expect(held).toBeLessThan(1_000); // 10 MB; unheld it is tens of thousands
  for (let i = 0; i < held + 100; i++) await replies.next();
  expect(produced).toBeGreaterThan(held);
  await replies.return?.();
});

test('a handler that stops reading holds back the client after a bounded number of messages', async () => {
  const { handlers } = waiting();
  const go = latch();
  let received = 0;
  const { client } = await serve(EchoService, {
    ...handlers,
    collect: async (requests) => {
      for await (const _ of requests) {
        received++;
        await go.promise;
      }
      return { number: received };
    },
  });
  let sent = 0;
  let enough = false;
  async function* requests(): AsyncGenerator<{ text: string }> {
    while (!enough) {
      sent++;
      yield { text: 'x'.repeat(10_000) };
    }
  }
  const call = client.collect(requests());
  let still = 0;
  for (let last = -1; still < 20; last = sent) {
    await new Promise((resolve) => setTimeout(resolve, 5));
    still = sent === last ? still + 1 : 0;
  }
  expect(sent).toBeLessThan(1_000);
  enough = true;
  go.open();
  expect((await call).number).toBe(sent);
});

test('the deadline reaches a handler whose caller does not read', async () => {
  const { handlers } = waiting();
  const reason = latch<AppError>();
  const { client } = await serve(EchoService, {
    ...handlers,
    many: async function* (_, context) {
      context.signal.addEventListener('abort', () => reason.open(context.signal.reason as AppError));
      for (;;) yield { text: 'x'.repeat(10_000) };
    },
  });
  const replies = client.many({}, { timeoutMs: 2_000 })[Symbol.asyncIterator]();
  await replies.next();
  expect((await reason.promise).code).toBe('deadline');
  await replies.return?.();
});
