/** The HTTPS server the API server asks about new pods. It never calls anything in the request path. */
import { createServer, type Server } from 'node:https';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Counter, Registry } from 'prom-client';
import { counter } from '../../sidecar/base/metrics.ts';
import type { Log } from '../../sidecar/base/log.ts';
import type { KeyPair } from '../certificates/x509.ts';
import { decideInjection, type InjectContext } from './inject.ts';
import { type AdmissionAnswer, type AdmissionRequest, encodeReview, parseReview } from './review.ts';

/** The API server takes objects of up to 3 MiB, and a review of a creation holds one. */
const MAX_BODY_BYTES = 4 * 1024 * 1024;
/** Of all requests together: anybody who reaches the port may send, and memory must not be theirs to fill. */
const MAX_BUFFERED_BYTES = 48 * 1024 * 1024;
const MAX_CONNECTIONS = 256;
/** Longer than the API server's idle time, so that it is always the side that closes. */
const KEEP_ALIVE_MS = 120_000;

export interface WebhookOptions {
  readonly host: string;
  readonly port: number;
  readonly certificate: KeyPair;
  /** Everything known about the namespace a pod is made in; null: not in the cache (yet). */
  context(namespace: string): InjectContext | null;
  readonly log: Log;
  readonly registry: Registry;
}

export interface Webhook extends AsyncDisposable {
  readonly port: number;
  /** New connections use this certificate from now on. */
  setCertificate(certificate: KeyPair): void;
}

/** Listens at once; resolves when it does. */
export async function startWebhook(options: WebhookOptions): Promise<Webhook> {
  const results = counter(options.registry, {
    name: 'glmquota_injections_total',
    help: 'Pods seen by the injector, by what was decided.',
    labels: { result: ['injected', 'skipped', 'denied', 'invalid'] },
  });
  const intake: Intake = { bufferedBytes: 0 };
  const server = createServer(
    {
      cert: options.certificate.certPem,
      key: options.certificate.keyPem,
      minVersion: 'TLSv1.2',
      connectionsCheckingInterval: 1000,
    },
    (request, response) => {
      answer(request, response, intake, (text) => reply(text, options, results)).catch(() => response.destroy());
    },
  );
  server.keepAliveTimeout = KEEP_ALIVE_MS;
  server.headersTimeout = KEEP_ALIVE_MS + 5_000;
  server.requestTimeout = 10_000;
  server.maxConnections = MAX_CONNECTIONS;
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port, options.host, resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    setCertificate: ({ certPem, keyPem }) =>
      server.setSecureContext({ cert: certPem, key: keyPem, minVersion: 'TLSv1.2' }),
    [Symbol.asyncDispose]: async () => close(server),
  };
}

async function close(server: Server): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  server.closeIdleConnections();
  await closed;
}

/** Bytes of all bodies being read by one server. */
interface Intake {
  bufferedBytes: number;
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  intake: Intake,
  reply: (body: string) => string | null,
): Promise<void> {
  if (request.method !== 'POST' || request.url?.split('?')[0] !== '/inject') {
    return refuse(response, 404, 'POST /inject only');
  }
  const body = await readBody(request, intake);
  if (typeof body === 'number') {
    return refuse(
      response,
      body,
      body === 413 ? `a review is at most ${MAX_BODY_BYTES} bytes` : 'too much at once; try again',
    );
  }
  const review = reply(body);
  if (review === null) return refuse(response, 400, 'not an AdmissionReview of admission.k8s.io/v1 about a pod');
  response.writeHead(200, { 'content-type': 'application/json' }).end(review);
}

/** The body's text, or the status to refuse it with. */
async function readBody(request: IncomingMessage, intake: Intake): Promise<string | 413 | 503> {
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of request as AsyncIterable<Buffer>) {
      size += chunk.length;
      intake.bufferedBytes += chunk.length;
      if (size > MAX_BODY_BYTES) return 413;
      if (intake.bufferedBytes > MAX_BUFFERED_BYTES) return 503;
      chunks.push(chunk);
    }
    return Buffer.concat(chunks).toString('utf8');
  } finally {
    intake.bufferedBytes -= size;
  }
}

function refuse(response: ServerResponse, status: number, message: string): void {
  response.writeHead(status, { 'content-type': 'text/plain', connection: 'close' }).end(`${message}\n`);
}

function reply(text: string, options: WebhookOptions, results: Counter): string | null {
  const request = parseReview(text);
  if (request === null) {
    results.inc({ result: 'invalid' });
    return null;
  }
  return encodeReview(request.uid, decide(request, options, results));
}

function decide(request: AdmissionRequest, options: WebhookOptions, results: Counter): AdmissionAnswer {
  const context = options.context(request.namespace);
  if (context === null) {
    results.inc({ result: 'denied' });
    return {
      kind: 'deny',
      message: `glmquota: namespace ${request.namespace} is not known to the injector yet; try again`,
    };
  }
  const decision = decideInjection(request.pod, context);
  const pod = request.pod.metadata?.name ?? request.pod.metadata?.generateName ?? '';
  switch (decision.kind) {
    case 'inject':
      results.inc({ result: 'injected' });
      options.log.info('webhook.injected', { namespace: request.namespace, pod, quota: decision.quota });
      return { kind: 'allow', patch: decision.patch };
    case 'skip':
      results.inc({ result: 'skipped' });
      return { kind: 'allow', patch: [] };
    case 'deny':
      results.inc({ result: 'denied' });
      options.log.warn('webhook.denied', { namespace: request.namespace, pod, message: decision.message });
      return { kind: 'deny', message: decision.message };
  }
}
