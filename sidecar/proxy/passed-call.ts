/** A request that costs nothing: it passes, and is only counted. */
import type { ServerResponse } from 'node:http';
import type { Surface } from '../glm/terms.ts';
import type { RelayEnd, RelayListener } from './relay.ts';
import { refuseRelayEnd, reply } from './reply.ts';

export class PassedCall implements RelayListener {
  readonly #response: ServerResponse;
  readonly #surface: Surface;
  readonly #onEnded: (ended: 'passed' | 'failed' | 'clientGone') => void;

  constructor(
    response: ServerResponse,
    surface: Surface,
    onEnded: (ended: 'passed' | 'failed' | 'clientGone') => void,
  ) {
    this.#response = response;
    this.#surface = surface;
    this.#onEnded = onEnded;
  }

  onHead(): 'pass' {
    return 'pass';
  }

  onChunk(): void {}

  isWhole(): boolean {
    return false;
  }

  onEnd(end: RelayEnd): void {
    if (end.kind === 'complete') return this.#onEnded('passed');
    this.#onEnded(end.kind === 'failed' ? 'failed' : 'clientGone');
    const refusal = refuseRelayEnd(this.#surface, end);
    if (refusal !== null) reply(this.#response, refusal);
  }
}
