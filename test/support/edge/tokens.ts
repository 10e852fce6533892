/** Tokens that look like those of a pod. Nobody signed them: what they are worth decides who reviews them. */
export interface TokenParts {
  readonly namespace?: string;
  readonly pod?: string;
  readonly uid?: string;
  readonly audience?: unknown;
  readonly lifetimeMs?: number;
  /** Instead of `lifetimeMs`. */
  readonly expiresAtMs?: number;
  readonly id?: string;
}

export function tokenFor(parts: TokenParts = {}): string {
  const expiresAtMs = parts.expiresAtMs ?? Date.now() + (parts.lifetimeMs ?? 3_600_000);
  return rawToken({
    aud: 'audience' in parts ? parts.audience : ['glmquota'],
    exp: Math.floor(expiresAtMs / 1000),
    iss: 'https://kubernetes.default.svc',
    jti: parts.id ?? 'one',
    sub: `system:serviceaccount:${parts.namespace ?? 'team-a'}:default`,
    'kubernetes.io': {
      namespace: parts.namespace ?? 'team-a',
      pod: { name: parts.pod ?? 'agent-1', uid: parts.uid ?? 'uid-agent-1' },
      serviceaccount: { name: 'default', uid: 'uid-sa' },
    },
  });
}

export function rawToken(payload: unknown): string {
  const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  return `${encode({ alg: 'RS256' })}.${encode(payload)}.c2lnbmF0dXJl`;
}
