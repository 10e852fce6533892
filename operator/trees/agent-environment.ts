/** The environment that points agents' clients at a sidecar; used by the injector and printed by local mode. */
import type { Billing } from '../../sidecar/control/terms.ts';

export interface EnvironmentVariable {
  readonly name: string;
  readonly value: string;
}

/** What agents get instead of the vendor's key: clients refuse an empty one, and the sidecar replaces whatever comes. */
const PLACEHOLDER_KEY = 'glmquota-managed';

const OPENAI_PATHS: Readonly<Record<Billing, string>> = {
  CodingPlan: '/api/coding/paas/v4',
  TeamSeat: '/api/coding/paas/v4',
  PayAsYouGo: '/api/paas/v4',
};
const ANTHROPIC_PATH = '/api/anthropic';

/** opencode knows no base-URL variable, only a configuration document. */
function opencodeConfig(baseUrl: string): string {
  const options = { baseURL: baseUrl, apiKey: PLACEHOLDER_KEY };
  const providers = ['zai', 'zai-coding-plan', 'zhipuai', 'zhipuai-coding-plan'];
  return JSON.stringify({ provider: Object.fromEntries(providers.map((id) => [id, { options }])) });
}

/** The vendor sells its Anthropic surface with plans only; a client pointed there by a pay-as-you-go account would get 403. */
function anthropicRows(origin: string, billing: Billing): readonly (readonly [string, string])[] {
  if (billing === 'PayAsYouGo') return [];
  const base = `${origin}${ANTHROPIC_PATH}`;
  return [
    ['ANTHROPIC_BASE_URL', base],
    ['ANTHROPIC_HOST', base],
    ['ANTHROPIC_AUTH_TOKEN', PLACEHOLDER_KEY],
  ];
}

/**
 * Variables by which each known client finds the sidecar at `origin` (scheme, host and port), in a stable order.
 * `ANTHROPIC_API_KEY` stays unset: clients that find both keys warn or send both.
 */
export function agentEnvironment(origin: string, billing: Billing): readonly EnvironmentVariable[] {
  const openAi = `${origin}${OPENAI_PATHS[billing]}`;
  const rows: readonly (readonly [string, string])[] = [
    ['OPENAI_BASE_URL', openAi],
    ['OPENAI_API_BASE', openAi],
    ['OPENAI_HOST', origin],
    ['OPENAI_BASE_PATH', `${OPENAI_PATHS[billing].slice(1)}/chat/completions`],
    ['OPENAI_API_KEY', PLACEHOLDER_KEY],
    ...anthropicRows(origin, billing),
    ['API_TIMEOUT_MS', '3000000'],
    ['ZAI_API_BASE', openAi],
    ['ZAI_API_KEY', PLACEHOLDER_KEY],
    ['ZHIPU_API_KEY', PLACEHOLDER_KEY],
    ['ZHIPUAI_API_KEY', PLACEHOLDER_KEY],
    ['GLM_BASE_URL', openAi],
    ['GLM_API_KEY', PLACEHOLDER_KEY],
    ['OPENCODE_CONFIG_CONTENT', opencodeConfig(openAi)],
  ];
  return rows.map(([name, value]) => ({ name, value }));
}
