/** AdmissionReview v1, decoded and encoded by hand: typed models would drop pod fields newer than themselves. */
import type { PatchOperation, Pod } from './pod-shape.ts';

export interface AdmissionRequest {
  readonly uid: string;
  readonly namespace: string;
  readonly operation: string;
  readonly pod: Pod;
}

export type AdmissionAnswer =
  | { readonly kind: 'allow'; readonly patch: readonly PatchOperation[] }
  | { readonly kind: 'deny'; readonly message: string };

function record(value: unknown): Record<string, unknown> | null {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : null;
}

/** The request inside a review's JSON, or null when it is no AdmissionReview v1 about an object. */
export function parseReview(text: string): AdmissionRequest | null {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    return null;
  }
  const review = record(parsed);
  const request = record(review?.['request']);
  const object = record(request?.['object']);
  if (review?.['apiVersion'] !== 'admission.k8s.io/v1' || request === null || object === null) return null;
  const { uid, namespace, operation } = request;
  if (typeof uid !== 'string' || typeof namespace !== 'string' || typeof operation !== 'string') return null;
  return { uid, namespace, operation, pod: object as Pod };
}

/** The review that answers `uid`; a denial carries 403 and the message kubectl shows. */
export function encodeReview(uid: string, answer: AdmissionAnswer): string {
  const response =
    answer.kind === 'deny'
      ? { uid, allowed: false, status: { code: 403, reason: 'Forbidden', message: answer.message } }
      : { uid, allowed: true, ...encodePatch(answer.patch) };
  return JSON.stringify({ apiVersion: 'admission.k8s.io/v1', kind: 'AdmissionReview', response });
}

function encodePatch(patch: readonly PatchOperation[]): object {
  if (patch.length === 0) return {};
  return { patchType: 'JSONPatch', patch: Buffer.from(JSON.stringify(patch)).toString('base64') };
}
