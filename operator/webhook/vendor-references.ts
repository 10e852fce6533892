/** Finds containers that would talk to the vendor past the sidecar: injected but unmetered must not happen. */
import type { Container } from './pod-shape.ts';

export interface VendorReference {
  readonly container: string;
  /** Where it stands, e.g. `env OPENAI_BASE_URL` or `args[2]`. */
  readonly place: string;
  readonly kind: 'url' | 'key';
  /** The variable's name when it stands in one, so that it can be replaced. */
  readonly env: string | null;
}

/** The vendor's keys are an id of 32 hexadecimal digits, a dot and a secret of 16 characters. */
const RAW_KEY = /(?:^|[^0-9A-Za-z])[0-9a-f]{32}\.[0-9A-Za-z]{16}(?![0-9A-Za-z])/;

/** What stands between `//` and the path of each URL in a text. */
const AUTHORITY = /\/\/([^/?#"'\s,;)]+)/g;

/** `host` or `host:port` of an authority, without user and the trailing dot of a rooted name. */
function hostOf(authority: string): string {
  return authority
    .slice(authority.lastIndexOf('@') + 1)
    .toLowerCase()
    .replace(/\.(?=:|$)/, '');
}

function kindOf(text: string, vendorHosts: readonly string[]): VendorReference['kind'] | null {
  if (RAW_KEY.test(text)) return 'key';
  const hosts = [...text.matchAll(AUTHORITY)].map(([, authority = '']) => hostOf(authority));
  return hosts.some((host) => vendorHosts.includes(host) || vendorHosts.includes(host.replace(/:\d+$/, '')))
    ? 'url'
    : null;
}

/** Every literal of `container` that names a vendor host or is a raw vendor key; values from Secrets are not seen. */
export function vendorReferences(container: Container, vendorHosts: readonly string[]): readonly VendorReference[] {
  const texts = [
    ...(container.env ?? []).map(({ name, value }) => ({ place: `env ${name}`, text: value ?? '', env: name })),
    ...(container.command ?? []).map((text, i) => ({ place: `command[${i}]`, text, env: null })),
    ...(container.args ?? []).map((text, i) => ({ place: `args[${i}]`, text, env: null })),
  ];
  return texts.flatMap(({ place, text, env }) => {
    const kind = kindOf(text, vendorHosts);
    return kind === null ? [] : [{ container: container.name, place, kind, env }];
  });
}
