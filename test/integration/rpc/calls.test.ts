import { expect, expectTypeOf, test } from 'vitest';
import { AppError } from '#sidecar/base/errors.ts';
import type { Handlers } from '#sidecar/rpc/handlers.ts';
import { EchoService, type Note } from '#test/support/rpc/echo.ts';
import { serve } from '#test/support/rpc/serving.ts';

async function* notes(...numbers: number[]): AsyncGenerator<{ number: number }> {
  for (const number of numbers) yield { number };
}

/** Every RPC, doing something of its kind. */
const handlers: Handlers<typeof EchoService> = {
  one: async (note) => ({ text: `${note.text}!`, number: note.number + 1 }),
  many: async function* (note) {
    for (let number = 1; number <= note.number; number++) yield { number };
  },
  collect: async (requests) => {
    let number = 0;
    for await (const note of requests) number += note.number;
    return { number };
  },
  talk: async function* (requests) {
    for await (const note of requests) yield { number: note.number * 10 };
  },
};

async function numbersOf(replies: AsyncIterable<Note>): Promise<number[]> {
  const numbers: number[] = [];
  for await (const note of replies) numbers.push(note.number);
  return numbers;
}

test('a unary call carries its message both ways', async () => {
  const { client } = await serve(EchoService, handlers);
  expect(await client.one({ text: 'hi', number: 41 })).toMatchObject({ text: 'hi!', number: 42 });
});

test('a server stream arrives whole and in order', async () => {
  const { client } = await serve(EchoService, handlers);
  expect(await numbersOf(client.many({ number: 500 }))).toEqual(Array.from({ length: 500 }, (_, i) => i + 1));
});

test('a client stream is received whole', async () => {
  const { client } = await serve(EchoService, handlers);
  expect(await client.collect(notes(...Array.from({ length: 300 }, () => 2)))).toMatchObject({ number: 600 });
});

test('a bidirectional stream answers each message before the next is sent', async () => {
  const { client } = await serve(EchoService, handlers);
  const answers: number[] = [];
  let answered = Promise.withResolvers<void>();
  async function* requests(): AsyncGenerator<{ number: number }> {
    for (const number of [1, 2, 3]) {
      yield { number };
      await answered.promise;
      answered = Promise.withResolvers();
    }
  }
  for await (const note of client.talk(requests())) {
    answers.push(note.number);
    answered.resolve();
  }
  expect(answers).toEqual([10, 20, 30]);
});

test('a server stream that fails delivers what came before the error', async () => {
  const { client } = await serve(EchoService, {
    ...handlers,
    many: async function* () {
      yield { number: 7 };
      throw new AppError('forbidden', 'not this one');
    },
  });
  const seen: number[] = [];
  const reading = (async () => {
    for await (const note of client.many({})) seen.push(note.number);
  })();
  await expect(reading).rejects.toMatchObject({ code: 'forbidden', message: 'not this one' });
  expect(seen).toEqual([7]);
});

test('a bidirectional stream may end before its requests do', async () => {
  const { client } = await serve(EchoService, {
    ...handlers,
    talk: async function* (requests) {
      for await (const note of requests) {
        yield note;
        return;
      }
    },
  });
  async function* endless(): AsyncGenerator<{ text: string; number: number }> {
    for (let number = 1; ; number++) yield { text: 'x'.repeat(10_000), number };
  }
  expect(await numbersOf(client.talk(endless()))).toEqual([1]);
});

test('an error of the request stream itself ends the call with that error', async () => {
  const { client } = await serve(EchoService, handlers);
  async function* failing(): AsyncGenerator<{ number: number }> {
    yield { number: 1 };
    throw new AppError('tooLarge', 'the third is too large');
  }
  await expect(client.collect(failing())).rejects.toMatchObject({ code: 'tooLarge' });
  await expect(numbersOf(client.talk(failing()))).rejects.toMatchObject({ code: 'tooLarge' });
});

test('many calls at once on one connection keep apart', async () => {
  const { client } = await serve(EchoService, handlers);
  const replies = await Promise.all(Array.from({ length: 200 }, (_, number) => client.one({ number })));
  expect(replies.map((note) => note.number)).toEqual(Array.from({ length: 200 }, (_, number) => number + 1));
});

test('a service with a forgotten RPC does not compile', () => {
  const { talk: _, ...forgotten } = handlers;
  expectTypeOf(forgotten).not.toExtend<Handlers<typeof EchoService>>();
  expectTypeOf(handlers).toExtend<Handlers<typeof EchoService>>();
});
