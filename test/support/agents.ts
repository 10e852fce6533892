/** Agents in pods: an idle container with Node in which tests run code, make calls and keep up a load. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { waitFor } from '../cluster/wait.ts';
import { apply, type Manifest, type Platform, type Tenant } from './platform.ts';

const IDLE = `process.on('SIGTERM', () => process.exit(0)); setInterval(() => {}, 60_000);`;

export interface AgentOptions {
  /** Default `team`. */
  readonly quota?: string;
  readonly labels?: Readonly<Record<string, string>>;
  /** Merged into the pod's spec. */
  readonly spec?: Readonly<Record<string, unknown>>;
}

export interface Agent {
  readonly namespace: string;
  readonly pod: string;
}

export function agentContainer(platform: Platform): Readonly<Record<string, unknown>> {
  const image = platform.images['demo-agent'].reference;
  return { name: 'agent', image, imagePullPolicy: 'IfNotPresent', command: ['/bin/node', '-e', IDLE] };
}

export function agentPod(platform: Platform, namespace: string, name: string, options: AgentOptions = {}): Manifest {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name,
      namespace,
      labels: { 'glmquota.io/inject': 'true', ...options.labels },
      annotations: { 'glmquota.io/quota': options.quota ?? 'team' },
    },
    spec: { terminationGracePeriodSeconds: 1, containers: [agentContainer(platform)], ...options.spec },
  };
}

/** Starts an injected pod and waits until it is Ready: its sidecar has its configuration. */
export async function startAgent(
  platform: Platform,
  { name: namespace }: Pick<Tenant, 'name'>,
  pod: string,
  options: AgentOptions = {},
): Promise<Agent> {
  await apply(platform, agentPod(platform, namespace, pod, options));
  await platform.cluster.kubectl(['wait', `pod/${pod}`, '-n', namespace, '--for=condition=Ready', '--timeout=60s']);
  return { namespace, pod };
}

function execArguments({ namespace, pod }: Agent, code: string): string[] {
  return ['exec', '-i', '-n', namespace, pod, '-c', 'agent', '--', '/bin/node', '-e', code];
}

/** Runs code in the agent's container; its output. `input` is an argument as JSON: `input` in the code. */
export async function runInAgent(platform: Platform, agent: Agent, code: string, input?: unknown): Promise<string> {
  const source = `const input = ${JSON.stringify(input ?? null)};\n(async () => {${code}})();`;
  return (await platform.cluster.kubectl(execArguments(agent, source), { stdin: '' })).trim();
}

export interface Answer {
  readonly status: number;
  readonly deniedBy: string | null;
  readonly retryAt: string | null;
  readonly body: string;
}

/** One call as agents make it: whatever address and key the environment names. Status 0: no HTTP answer. */
const CALL = `
  const call = async (prompt, model) => {
    try {
      const response = await fetch(process.env.OPENAI_BASE_URL + '/chat/completions', {
        method: 'POST',
        headers: { 'content-type': 'application/json', authorization: 'Bearer ' + process.env.OPENAI_API_KEY },
        body: JSON.stringify({ model, max_tokens: 64, messages: [{ role: 'user', content: prompt }] }),
      });
      const header = (name) => response.headers.get(name);
      return { status: response.status, deniedBy: header('x-glmquota-denied-by'), retryAt: header('x-glmquota-retry-at'),
        body: (await response.text()).slice(0, 2000) };
    } catch (error) {
      return { status: 0, deniedBy: null, retryAt: null, body: String(error.cause ?? error) };
    }
  };`;

/** Calls one after another; their answers. */
export async function callsOf(
  platform: Platform,
  agent: Agent,
  count = 1,
  prompt = 'Say something.',
): Promise<readonly Answer[]> {
  const code = `${CALL}
    const answers = [];
    for (let i = 0; i < input.count; i++) answers.push(await call(input.prompt, 'glm-5.3'));
    console.log(JSON.stringify(answers));`;
  return JSON.parse(await runInAgent(platform, agent, code, { count, prompt })) as Answer[];
}

export async function callOf(platform: Platform, agent: Agent, prompt?: string): Promise<Answer> {
  const [answer] = await callsOf(platform, agent, 1, prompt);
  if (!answer) throw new Error('the agent gave no answer');
  return answer;
}

/** An answer and when it came, by the clock of this process. */
export interface Seen extends Answer {
  readonly atMs: number;
}

/** Calls that go on until {@link Load.stop}: nothing is cut off, so that every one of them has an answer. */
export class Load {
  readonly seen: Seen[] = [];
  readonly #child: ChildProcess;
  readonly #ended: Promise<unknown>;
  #errors = '';

  private constructor(child: ChildProcess) {
    this.#child = child;
    this.#ended = once(child, 'close');
    let rest = '';
    child.stdout?.on('data', (chunk: Buffer) => {
      const lines = (rest + chunk.toString()).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) this.seen.push({ ...(JSON.parse(line) as Answer), atMs: performance.now() });
    });
    child.stderr?.on('data', (chunk: Buffer) => (this.#errors += chunk.toString()));
  }

  /** Starts `parallel` loops in the agent and waits for the first answer. */
  static async start(
    { cluster }: Platform,
    agent: Agent,
    { parallel = 1, pauseMs = 20, prompt = 'Work. [[sim tokens=20 ms=60 ttft=20]]' } = {},
  ): Promise<Load> {
    const code = `${CALL}
      let isOn = true;
      process.stdin.on('end', () => { isOn = false; }).resume();
      const loop = async () => {
        while (isOn) {
          console.log(JSON.stringify(await call(${JSON.stringify(prompt)}, 'glm-5.3')));
          await new Promise((resolve) => setTimeout(resolve, ${pauseMs}));
        }
      };
      for (let i = 0; i < ${parallel}; i++) loop();`;
    const [program = '', ...prefix] = cluster.kubectlCommand;
    const child = spawn(program, [...prefix, ...execArguments(agent, code)], { stdio: ['pipe', 'pipe', 'pipe'] });
    const load = new Load(child);
    await waitFor('the first answer of a load', () => load.seen.length > 0);
    return load;
  }

  get granted(): number {
    return this.seen.filter(({ status }) => status === 200).length;
  }

  /** Answers other than 200, for messages of tests. */
  get failures(): readonly Seen[] {
    return this.seen.filter(({ status }) => status !== 200);
  }

  /** Lets every call end; all answers. */
  async stop(): Promise<readonly Seen[]> {
    this.#child.stdin?.end();
    await this.#ended;
    if (this.#child.exitCode !== 0) throw new Error(`a load ended with ${this.#child.exitCode}: ${this.#errors}`);
    return this.seen;
  }
}
