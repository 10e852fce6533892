/** What the agents printed, gathered while their pods live and kept when they are gone. */
import type { Cluster } from '../cluster/cluster.ts';
import type { CallLine } from './agent.ts';

export interface Tally {
  readonly calls: number;
  readonly granted: number;
  readonly refusedByUs: number;
  readonly refusedByVendor: number;
  readonly failed: number;
  readonly tokens: number;
}

function parseLines(text: string): readonly CallLine[] {
  return text
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as CallLine);
}

export function tally(lines: readonly CallLine[]): Tally {
  const count = (result: CallLine['result']): number => lines.filter((line) => line.result === result).length;
  return {
    calls: lines.length,
    granted: count('granted'),
    refusedByUs: count('refusedByUs'),
    refusedByVendor: count('refusedByVendor'),
    failed: count('failed'),
    tokens: lines.reduce((sum, { tokens }) => sum + tokens, 0),
  };
}

export class AgentLogs {
  readonly #cluster: Cluster;
  readonly #namespace: string;
  readonly #selector: string;
  readonly #textByPod = new Map<string, string>();

  constructor(cluster: Cluster, namespace: string, selector: string) {
    this.#cluster = cluster;
    this.#namespace = namespace;
    this.#selector = selector;
  }

  /** All lines so far, those of ended pods as they were last seen. */
  async lines(): Promise<readonly CallLine[]> {
    const list = [
      'get',
      'pods',
      '-n',
      this.#namespace,
      '-l',
      this.#selector,
      '-o',
      'jsonpath={.items[*].metadata.name}',
    ];
    const pods = (await this.#cluster.kubectl(list)).split(' ').filter((name) => name !== '');
    const read = async (pod: string): Promise<void> => {
      // A container that is being created or removed has no log to give; what was seen before stays.
      const text = await this.#cluster.kubectl(['logs', '-n', this.#namespace, pod, '-c', 'agent']).catch(() => null);
      if (text !== null) this.#textByPod.set(pod, text);
    };
    await Promise.all(pods.map((pod) => read(pod)));
    return [...this.#textByPod.values()].flatMap((text) => parseLines(text));
  }
}
