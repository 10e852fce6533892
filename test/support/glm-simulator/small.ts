/** The endpoints beside inference: `/models` and `count_tokens`. Neither counts as a call. */
import { keyOf } from './admission.ts';
import type { Exchange } from './exchange.ts';
import { errorAnswer, type SurfaceName } from './refusal.ts';
import { countTokens } from './surfaces/messages.ts';
import type { Vendor } from './vendor.ts';

const MODEL_LISTS = ['/api/coding/paas/v4/models', '/api/paas/v4/models'];

function refuse(vendor: Vendor, exchange: Exchange, surface: SurfaceName, code: string): void {
  const nowMs = vendor.clock.nowMs();
  const answer = errorAnswer(
    { code },
    {
      facts: vendor.facts,
      knobs: vendor.knobs.errors,
      surface,
      nowMs,
      requestId: vendor.nextId(nowMs),
      acceptLanguage: exchange.header('accept-language'),
      hasBeta: false,
    },
  );
  exchange.send(answer.status, answer.headers, answer.body);
}

const authProblem = (vendor: Vendor, key: string | undefined): string | undefined =>
  key === undefined ? '1001' : vendor.accountOf(key) ? undefined : '1002';

/** OpenAI's shape, and as incomplete as the vendor's. */
function serveModels(vendor: Vendor, exchange: Exchange): void {
  const problem = authProblem(vendor, keyOf(exchange));
  if (problem !== undefined) return refuse(vendor, exchange, 'chat', problem);
  const listed = Object.entries(vendor.facts.models).filter(([, facts]) => facts.listed);
  const data = listed.map(([id]) => ({ id, object: 'model', created: 1_755_561_600, owned_by: 'z-ai' }));
  exchange.sendJson(200, { object: 'list', data });
}

async function serveCount(vendor: Vendor, exchange: Exchange): Promise<void> {
  const raw = await exchange.readBody();
  if (raw === undefined) return;
  const problem = authProblem(vendor, keyOf(exchange));
  if (problem !== undefined) return refuse(vendor, exchange, 'messages', problem);
  let tokens: number | undefined;
  try {
    tokens = countTokens(JSON.parse(raw));
  } catch {
    tokens = undefined;
  }
  if (tokens === undefined) return refuse(vendor, exchange, 'messages', '1210');
  exchange.sendJson(200, { input_tokens: tokens });
}

/** False when the path is none of these. */
export async function serveSmall(vendor: Vendor, exchange: Exchange, path: string): Promise<boolean> {
  const { method } = exchange.request;
  if (method === 'GET' && MODEL_LISTS.includes(path)) {
    serveModels(vendor, exchange);
    return true;
  }
  if (method !== 'POST' || path !== '/api/anthropic/v1/messages/count_tokens') return false;
  await serveCount(vendor, exchange);
  return true;
}
