/** TokenReview of the API server. */
import type { KubeClient } from '../runtime/client.ts';
import type { ResourceType } from '../runtime/resources.ts';
import { TOKEN_AUDIENCE } from './claims.ts';
import type { ReviewedPod, TokenReviewer } from './terms.ts';

const TOKEN_REVIEWS: ResourceType = {
  group: 'authentication.k8s.io',
  version: 'v1',
  plural: 'tokenreviews',
  kind: 'TokenReview',
  namespaced: false,
};

interface ReviewStatus {
  readonly authenticated?: boolean;
  readonly audiences?: readonly string[];
  readonly user?: {
    readonly username?: string;
    readonly extra?: Readonly<Record<string, readonly string[] | undefined>>;
  };
}

export function tokenReviewer(client: Pick<KubeClient, 'create'>): TokenReviewer {
  return {
    review: async (token, signal) => {
      const review = await client.create(
        TOKEN_REVIEWS,
        {
          apiVersion: 'authentication.k8s.io/v1',
          kind: 'TokenReview',
          metadata: {},
          spec: { token, audiences: [TOKEN_AUDIENCE] },
        },
        { signal },
      );
      return reviewedPod((review['status'] ?? {}) as ReviewStatus);
    },
  };
}

/** The pod of an authenticated service account token for our audience; null for anything else. */
export function reviewedPod({ authenticated, audiences = [], user = {} }: ReviewStatus): ReviewedPod | null {
  if (authenticated !== true || !audiences.includes(TOKEN_AUDIENCE)) return null;
  const [, namespace, serviceAccount] = /^system:serviceaccount:([^:]+):([^:]+)$/.exec(user.username ?? '') ?? [];
  const name = extraOf(user, 'pod-name');
  const uid = extraOf(user, 'pod-uid');
  return namespace && serviceAccount && name && uid ? { namespace, serviceAccount, name, uid } : null;
}

function extraOf({ extra }: NonNullable<ReviewStatus['user']>, key: string): string | undefined {
  return extra?.[`authentication.kubernetes.io/${key}`]?.[0];
}
