/** One pod: the lease layer under test on a machine of its own, and the agents behind it. */
import { createCell } from '#sidecar/base/cell.ts';
import type { Log } from '#sidecar/base/log.ts';
import { createRegistry } from '#sidecar/base/metrics.ts';
import type { SidecarSnapshot } from '#sidecar/control/terms.ts';
import { createLeaseDesk, type OpenDesk } from '#sidecar/leases/desk.ts';
import type { LeaseEngine } from '#sidecar/leases/metered-engine.ts';
import { createSidecarMetrics } from '#sidecar/leases/metrics.ts';
import { Agent, type AgentOptions } from './agent.ts';
import { Link } from './link.ts';
import { Party, type Machine } from './party.ts';
import { Reach } from './reach.ts';
import { RemoteEngine } from './remote.ts';
import type { Schedule } from './schedule.ts';
import type { Store } from './store.ts';
import type { Trace } from './trace.ts';
import type { CallFact } from './watch.ts';

export interface SidecarOptions extends Omit<AgentOptions, 'desk' | 'party' | 'onSent'> {
  readonly name: string;
  readonly schedule: Schedule;
  readonly store: Store;
  readonly trace: Trace;
  readonly machine: Machine;
  readonly agents: number;
  /** What the lease layer talks to; the same, unless a test breaks it. */
  readonly wrap: (engine: LeaseEngine) => LeaseEngine;
}

/** Nobody reads them here. */
const metrics = createSidecarMetrics(createRegistry());

/** One life of the process. */
interface Life {
  readonly party: Party;
  readonly desk: OpenDesk;
  readonly remote: RemoteEngine[];
  readonly working: Promise<unknown>;
  readonly sent: Map<CallFact, () => void>;
}

export class Sidecar {
  readonly name: string;
  readonly link: Link;
  readonly reach: Reach;
  readonly snapshots = createCell<SidecarSnapshot | null>(null);
  readonly #options: SidecarOptions;
  readonly #machine: Machine;
  readonly #stop = new AbortController();
  #life: Life | null = null;
  #lives = 0;

  constructor(options: SidecarOptions) {
    const { name, schedule, random } = options;
    this.name = name;
    this.#options = options;
    this.#machine = options.machine;
    this.link = new Link(schedule, random.fork('link'));
    this.reach = new Reach(schedule);
  }

  /** Null: it is dead. */
  get party(): Party | null {
    return this.#life?.party ?? null;
  }

  boot(): void {
    const { name, schedule, store, random, trace, wrap } = this.#options;
    const life = `life-${++this.#lives}`;
    const party = new Party(name, schedule, this.#machine);
    const remote: RemoteEngine[] = [];
    const desk = createLeaseDesk({
      snapshots: this.snapshots,
      openEngine: () => {
        const opened = new RemoteEngine({ party, link: this.link, store, random: random.fork(`${life}/dial`), trace });
        remote.push(opened);
        return opened.wrapped(wrap);
      },
      processId: name,
      clock: party.clock,
      log: this.#log(),
      metrics,
    });
    const sent = new Map<CallFact, () => void>();
    const agents = Array.from({ length: this.#options.agents }, (_, index) => {
      const own = random.fork(`${life}/agent-${index}`);
      const onSent = (call: CallFact, close: () => void): void => void sent.set(call, close);
      return new Agent({ ...this.#options, desk, party, random: own, onSent });
    });
    const working = Promise.all(agents.map((agent) => agent.work(this.#stop.signal)));
    this.#life = { party, desk, remote, working, sent };
  }

  /** Killed, with all its connections. */
  crash(): void {
    if (this.#life === null) return;
    const { party, remote, sent } = this.#life;
    this.#life = null;
    party.kill();
    for (const each of remote) each.vanish();
    for (const close of sent.values()) close();
    this.#options.books.died(this.name);
    this.#options.watch.died(this.name);
    this.#options.asks.died(this.name);
  }

  /** No more calls are made. Resolves when all have ended. */
  async finish(): Promise<void> {
    this.#stop.abort();
    await this.#life?.working;
  }

  /** Ends as on SIGTERM. */
  async shutDown(): Promise<void> {
    if (this.#life === null) return;
    const { desk } = this.#life;
    await desk.drain(new AbortController().signal);
    await desk[Symbol.asyncDispose]();
  }

  #log(): Log {
    const { trace } = this.#options;
    const write = (event: string, fields: object = {}): void =>
      trace.note(this.name, trace.isAloud ? `${event} ${JSON.stringify(fields)}` : event);
    const quiet = (): void => undefined;
    const log: Log = { debug: trace.isAloud ? write : quiet, info: write, warn: write, error: write, with: () => log };
    return log;
  }
}
