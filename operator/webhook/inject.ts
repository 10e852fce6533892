/** Decides what happens to a pod that is being created. Pure: the same pod and context give the same answer. */
import type { Billing } from '../../sidecar/control/terms.ts';
import { LABEL_INJECT } from '../api/v1alpha1/labels.ts';
import { agentEnvironment } from '../trees/agent-environment.ts';
import { ANNOTATION_ENV, type Options, readOptions } from './options.ts';
import { injectionPatch } from './patch.ts';
import type { NamespaceShape, PatchOperation, Pod } from './pod-shape.ts';
import { existingSidecar, renderingHash } from './rendering.ts';
import { SIDECAR_NAME, type SidecarSettings, sidecarContainer } from './sidecar-container.ts';
import { type VendorReference, vendorReferences } from './vendor-references.ts';

export const NAMESPACE_LABEL_INJECTION = 'glmquota.io/injection';

export interface InjectContext {
  readonly namespace: NamespaceShape;
  readonly settings: SidecarSettings;
  /** Hosts that agents must not address themselves, lower case. */
  readonly vendorHosts: readonly string[];
  /** Resolves a quota reference and checks that pods of this namespace and service account may bind to it. */
  bind(request: BindRequest): BindVerdict;
}

export interface BindRequest {
  /** `namespace/name`. */
  readonly quota: string;
  readonly namespace: string;
  readonly serviceAccount: string;
}

export type BindVerdict =
  | { readonly kind: 'bound'; readonly billing: Billing }
  | { readonly kind: 'refused'; readonly message: string };

type SkipReason = 'NotRequested' | 'OptedOut' | 'AlreadyInjected';

export type InjectDecision =
  | { readonly kind: 'skip'; readonly reason: SkipReason }
  /** The pod asked for the sidecar and cannot have it: running unmetered is never the answer. */
  | { readonly kind: 'deny'; readonly message: string }
  | { readonly kind: 'inject'; readonly patch: readonly PatchOperation[]; readonly quota: string };

const deny = (message: string): InjectDecision => ({ kind: 'deny', message: `glmquota: ${message}` });

function requested(pod: Pod, namespace: NamespaceShape): 'yes' | 'no' | 'optedOut' {
  const label = pod.metadata?.labels?.[LABEL_INJECT];
  if (label === 'false') return 'optedOut';
  return label === 'true' || namespace.labels[NAMESPACE_LABEL_INJECTION] === 'enabled' ? 'yes' : 'no';
}

function unsuitable(pod: Pod): string | null {
  if (pod.spec?.hostNetwork === true) {
    return 'a pod with hostNetwork would share its sidecar with the node; remove hostNetwork or the label glmquota.io/inject';
  }
  if (pod.spec?.os?.name === 'windows')
    return 'the sidecar does not run on Windows; remove the label glmquota.io/inject';
  return null;
}

function refusal(found: readonly VendorReference[]): string {
  const lines = found.map(({ container, place, kind }) =>
    kind === 'url'
      ? `container ${container}: ${place} points at the vendor; delete it, the sidecar sets the address`
      : `container ${container}: ${place} carries a raw vendor key; delete it, only the sidecar holds the key`,
  );
  return `${lines.join('; ')} (or annotate ${ANNOTATION_ENV}: Override to have variables replaced)`;
}

/** What stands in the way of injecting at all, or the references to the vendor that must go first. */
function objection(pod: Pod, options: Options, references: readonly VendorReference[]): string | null {
  const obstacle = unsuitable(pod);
  if (obstacle !== null) return obstacle;
  const standing = references.filter(({ env }) => !options.overrideEnv || env === null);
  return standing.length > 0 ? refusal(standing) : null;
}

function referencesOf(pod: Pod, vendorHosts: readonly string[]): readonly VendorReference[] {
  const containers = [...(pod.spec?.containers ?? []), ...(pod.spec?.initContainers ?? [])];
  return containers
    .filter(({ name }) => name !== SIDECAR_NAME)
    .flatMap((container) => vendorReferences(container, vendorHosts));
}

/** The decision about one pod. Never throws for a pod the API server would accept. */
export function decideInjection(pod: Pod, context: InjectContext): InjectDecision {
  const wish = requested(pod, context.namespace);
  if (wish !== 'yes') return { kind: 'skip', reason: wish === 'no' ? 'NotRequested' : 'OptedOut' };
  const options = readOptions(pod, context.namespace);
  if (typeof options === 'string') return deny(options);
  const references = referencesOf(pod, context.vendorHosts);
  const objected = objection(pod, options, references);
  if (objected !== null) return deny(objected);
  const verdict = context.bind({
    quota: options.quota,
    namespace: context.namespace.name,
    serviceAccount: pod.spec?.serviceAccountName ?? 'default',
  });
  if (verdict.kind === 'refused') return deny(verdict.message);
  return injected(pod, { options, references, billing: verdict.billing, settings: context.settings });
}

interface Accepted {
  readonly options: Options;
  readonly references: readonly VendorReference[];
  readonly billing: Billing;
  readonly settings: SidecarSettings;
}

function injected(pod: Pod, { options, references, billing, settings }: Accepted): InjectDecision {
  const sidecar = sidecarContainer(settings, options);
  const present = existingSidecar(pod, sidecar);
  if (present === 'foreign') {
    return deny(
      `the names ${SIDECAR_NAME}, glmquota-token and glmquota-socket are reserved for what is injected; rename yours`,
    );
  }
  const patch = injectionPatch(pod, {
    sidecar: present === 'ours' ? null : sidecar,
    environment: agentEnvironment('http://127.0.0.1:15787', billing),
    containers: options.containers,
    replaceable: options.overrideEnv ? new Set(references.flatMap(({ env }) => env ?? [])) : null,
    status: { quota: options.quota, hash: renderingHash(sidecar) },
  });
  return patch.length === 0
    ? { kind: 'skip', reason: 'AlreadyInjected' }
    : { kind: 'inject', patch, quota: options.quota };
}
