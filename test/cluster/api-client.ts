/** The few requests a harness makes itself while the control plane comes up; everything else goes through kubectl. */
import { request } from 'node:https';
import type { KeyPair } from './pki.ts';

export interface ApiClient {
  /** True when the server answers 200 on `path`. */
  isOk(path: string): Promise<boolean>;
  get<T>(path: string): Promise<T>;
  post(path: string, body: object): Promise<void>;
}

const TIMEOUT_MS = 10_000;

/** Requests as `user`; each opens its own connection, so a restarted server is met at once. */
export function connectApi(url: string, caPem: string, user: KeyPair): ApiClient {
  const send = async (method: string, path: string, body?: object): Promise<{ status: number; text: string }> =>
    new Promise((resolve, reject) => {
      const sent = request(
        new URL(path, url),
        {
          method,
          ca: caPem,
          cert: user.certPem,
          key: user.keyPem,
          agent: false,
          timeout: TIMEOUT_MS,
          headers: body ? { 'content-type': 'application/json' } : {},
        },
        (response) => {
          let text = '';
          response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
          response.on('end', () => resolve({ status: response.statusCode ?? 0, text }));
          response.on('error', reject);
        },
      );
      sent.on('timeout', () => sent.destroy(new Error(`${method} ${path} took longer than ${TIMEOUT_MS} ms`)));
      sent.on('error', reject);
      sent.end(body ? JSON.stringify(body) : undefined);
    });
  const expect2xx = async (method: string, path: string, body?: object): Promise<string> => {
    const { status, text } = await send(method, path, body);
    if (status < 200 || status > 299) throw new Error(`${method} ${path} answered ${status}: ${text.slice(0, 500)}`);
    return text;
  };
  return {
    isOk: async (path) => (await send('GET', path)).status === 200,
    get: async <T>(path: string) => JSON.parse(await expect2xx('GET', path)) as T,
    post: async (path, body) => {
      await expect2xx('POST', path, body);
    },
  };
}
