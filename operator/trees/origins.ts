/** Where a vendor key may be sent. */
import type { Region } from '../api/v1alpha1/glmaccount.ts';

/** The vendor's own origins; always allowed. */
const REGION_ORIGINS: Readonly<Record<Exclude<Region, 'Custom'>, string>> = {
  International: 'https://api.z.ai',
  China: 'https://open.bigmodel.cn',
};

/** The vendor's own origins: agents must not address them past the sidecar. */
export const VENDOR_ORIGINS: readonly string[] = Object.values(REGION_ORIGINS);

export type OriginDecision =
  | { readonly ok: true; readonly origin: string }
  | { readonly ok: false; readonly reason: 'CredentialInvalid' | 'OriginNotAllowed'; readonly message: string };

const LOOPBACK = /^(127(\.[0-9]{1,3}){3}|localhost|\[::1\])$/;

/** True for hosts (as in `URL.hostname`) that stay on this machine. */
export function isLoopbackHost(hostname: string): boolean {
  return LOOPBACK.test(hostname);
}

/**
 * The origin of an account. `stated` is `data.origin` of its Secret, read with `region: Custom` only. `allowed` entries
 * are `https://host[:port]`, `https://*.domain[:port]` or `*`; plain http is for loopback hosts and needs an entry too,
 * because in a pod loopback is the agent.
 */
export function decideOrigin(region: Region, stated: string | null, allowed: readonly string[]): OriginDecision {
  if (region !== 'Custom') {
    const origin = REGION_ORIGINS[region];
    if (stated === null || stated === origin) return { ok: true, origin };
    return {
      ok: false,
      reason: 'CredentialInvalid',
      message: `the Secret's data.origin is ${stated}, but region ${region} means ${origin}; remove data.origin or set region: Custom`,
    };
  }
  if (stated === null)
    return {
      ok: false,
      reason: 'CredentialInvalid',
      message: 'region Custom needs data.origin in the Secret, such as https://llm.example.com',
    };
  return decideCustom(stated, allowed);
}

function decideCustom(stated: string, allowed: readonly string[]): OriginDecision {
  const refuse = (message: string): OriginDecision => ({ ok: false, reason: 'OriginNotAllowed', message });
  const url = URL.parse(stated);
  if (url === null || url.pathname !== '/' || url.search !== '' || url.hash !== '' || url.username !== '')
    return refuse(`the Secret's data.origin must be scheme, host and port only, such as https://llm.example.com`);
  const plain = url.protocol === 'http:' && isLoopbackHost(url.hostname);
  if (url.protocol !== 'https:' && !plain)
    return refuse(`${url.origin} is not https; plain http is for loopback hosts only`);
  if (allowed.some((entry) => covers(entry, url))) return { ok: true, origin: url.origin };
  return refuse(`${url.origin} is not among the operator's allowed origins; ask its administrator to add it`);
}

function covers(entry: string, url: URL): boolean {
  if (entry === '*') return true;
  const wildcard = /^(https?):\/\/\*\.([^:/]+)(?::([0-9]+))?$/.exec(entry);
  if (!wildcard) return URL.parse(entry)?.origin === url.origin;
  const [, scheme, domain = '', port = ''] = wildcard;
  return url.protocol === `${scheme}:` && url.hostname.endsWith(`.${domain.toLowerCase()}`) && url.port === port;
}
