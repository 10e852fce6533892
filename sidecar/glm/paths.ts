/**
 * Which vendor paths exist, whose they are and what they cost. Paths are compared as they came: nothing is decoded or
 * normalised, so no spelling of a path passes that the vendor would read as another one.
 */
import type { Billing } from '../control/terms.ts';
import type { Surface } from './terms.ts';

export type Destination =
  /** An inference call: it needs a lease. */
  | { readonly kind: 'metered'; readonly surface: Surface }
  /** Passes without a lease and costs nothing. */
  | { readonly kind: 'free'; readonly surface: Surface }
  /** Exists, but not for this account's billing; `rightPath` does, if any does. */
  | {
      readonly kind: 'wrongBilling';
      readonly surface: Surface;
      readonly rightPath: string;
      readonly message: string;
    }
  | { readonly kind: 'unknown'; readonly surface: Surface; readonly message: string };

interface Family {
  readonly surface: Surface;
  readonly base: string;
  readonly billings: readonly Billing[];
  /** Below `base`. */
  readonly metered: readonly string[];
  readonly freePosts: readonly string[];
  readonly freeGets: RegExp;
}

const PLANS: readonly Billing[] = ['CodingPlan', 'TeamSeat'];
const OPENAI = {
  surface: 'OpenAI',
  metered: ['/chat/completions'],
  freePosts: [],
  freeGets: /^\/models(\/[A-Za-z0-9][A-Za-z0-9._-]*)?$/,
} as const;

const FAMILIES: readonly Family[] = [
  { ...OPENAI, base: '/api/coding/paas/v4', billings: PLANS },
  { ...OPENAI, base: '/api/paas/v4', billings: ['PayAsYouGo'] },
  {
    surface: 'Anthropic',
    base: '/api/anthropic',
    billings: PLANS,
    metered: ['/v1/messages'],
    freePosts: ['/v1/messages/count_tokens'],
    freeGets: /^\/v1\/models(\/[A-Za-z0-9][A-Za-z0-9._-]*)?$/,
  },
  {
    surface: 'Responses',
    base: '/api/v1',
    billings: PLANS,
    metered: ['/responses'],
    freePosts: [],
    freeGets: /^\/models(\/[A-Za-z0-9][A-Za-z0-9._-]*)?$/,
  },
];

const MONITOR = /^\/api\/monitor(\/[A-Za-z0-9_-]+)+$/;
const DOUBLED_VERSION = /\/v[0-9]\/v[0-9](\/|$)/;

/**
 * Where a request goes. `target` is the request target in origin form; its query is ignored.
 * The surface of an unknown path is guessed from its beginning, for the shape of the refusal.
 */
export function destinationOf(method: string, target: string, billing: Billing): Destination {
  const path = target.split('?', 1)[0] ?? '';
  if (method === 'GET' && MONITOR.test(path)) return { kind: 'free', surface: 'OpenAI' };
  const family = FAMILIES.find(({ base }) => path.startsWith(`${base}/`));
  if (!family) return unknownPath('OpenAI', method, path);
  const rest = path.slice(family.base.length);
  const cost = costOf(family, method, rest);
  if (cost === null) return unknownPath(family.surface, method, path);
  if (!family.billings.includes(billing)) return wrongBilling(family, rest, billing);
  return { kind: cost, surface: family.surface };
}

function costOf(family: Family, method: string, rest: string): 'metered' | 'free' | null {
  if (method === 'POST' && family.metered.includes(rest)) return 'metered';
  if (method === 'POST' && family.freePosts.includes(rest)) return 'free';
  return method === 'GET' && family.freeGets.test(rest) ? 'free' : null;
}

/** The same surface under the account's billing, or else the OpenAI chat endpoint, which every billing has. */
function wrongBilling(family: Family, rest: string, billing: Billing): Destination {
  const allowed = FAMILIES.filter(({ billings }) => billings.includes(billing));
  const twin = allowed.find(({ surface }) => surface === family.surface);
  const fallback = allowed.find(({ surface }) => surface === 'OpenAI');
  const rightPath = twin ? twin.base + rest : `${fallback?.base ?? ''}${fallback?.metered[0] ?? ''}`;
  const message =
    `${family.base} is not served for this account's billing (${billing}): ` +
    `use ${rightPath}, that is the base URL ${(twin ?? fallback)?.base ?? ''}`;
  return { kind: 'wrongBilling', surface: family.surface, rightPath, message };
}

function unknownPath(surface: Surface, method: string, path: string): Destination {
  const shown = path.length > 200 ? `${path.slice(0, 200)}...` : path;
  const hint = DOUBLED_VERSION.test(path) ? '; the version is there twice: leave it out of the base URL' : '';
  return { kind: 'unknown', surface, message: `glmquota does not forward ${method} ${shown}${hint}` };
}
