/** Fields that accounts, quotas and pools share: references to objects, grants to namespaces. */
import { checked, integer, list, mapOf, object, oneOf, optional, string, withDefault, type Parser } from './parse.ts';
import { label } from './scalars.ts';

/** The name of a Kubernetes object. */
const objectName: Parser<string> = string({
  min: 1,
  max: 253,
  pattern: /^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/,
  hint: 'must be an object name: lower-case letters, digits, "-" and "."',
});

export interface ObjectRef {
  readonly name: string;
  /** Null: the namespace of the object that refers. */
  readonly namespace: string | null;
}

export const objectRef: Parser<ObjectRef> = object<ObjectRef>({ name: objectName, namespace: optional(label()) });

export interface LocalRef {
  readonly name: string;
}

export const localRef: Parser<LocalRef> = object<LocalRef>({ name: objectName });

export interface LabelSelector {
  readonly matchLabels: Readonly<Record<string, string>>;
  readonly matchExpressions: readonly {
    readonly key: string;
    readonly operator: 'In' | 'NotIn' | 'Exists' | 'DoesNotExist';
    readonly values: readonly string[];
  }[];
}

const labelSelector: Parser<LabelSelector> = object<LabelSelector>({
  matchLabels: withDefault(mapOf(string({ max: 63 }), { max: 16 }), {}),
  matchExpressions: withDefault(
    list(
      object<LabelSelector['matchExpressions'][number]>({
        key: string({ min: 1, max: 317 }),
        operator: oneOf(['In', 'NotIn', 'Exists', 'DoesNotExist']),
        values: withDefault(list(string({ max: 63 }), { max: 32 }), []),
      }),
      { max: 16 },
    ),
    [],
  ),
});

/** Which namespaces may use something: none, the owner's own, those a selector matches, all. */
export interface NamespaceGrant {
  readonly from: 'None' | 'Same' | 'Selector' | 'All';
  /** Not null exactly with `from: Selector`. */
  readonly selector: LabelSelector | null;
}

export const SAME_NAMESPACE: NamespaceGrant = { from: 'Same', selector: null };

export const grantFields = {
  from: withDefault(oneOf(['None', 'Same', 'Selector', 'All']), 'Same'),
  selector: optional(labelSelector),
} as const;

/** Holds a parser of something with a grant in it to the rule that binds its two fields. */
export function checkedGrant<T extends NamespaceGrant>(parser: Parser<T>): Parser<T> {
  return checked(parser, (grant, at) => {
    if (grant.from === 'Selector' && grant.selector === null)
      at.child('selector').fail('is required with from: Selector');
    if (grant.from !== 'Selector' && grant.selector !== null)
      at.child('selector').fail('is only read with from: Selector; remove it or set from: Selector');
  });
}

export const namespaceGrant: Parser<NamespaceGrant> = withDefault(
  checkedGrant(object<NamespaceGrant>(grantFields)),
  SAME_NAMESPACE,
);

/** Which namespaces' quotas may hang under something, and how heavy they may be there. */
export interface ChildrenGrant extends NamespaceGrant {
  readonly maxWeight: number;
}

export const MAX_WEIGHT = 1000;
const DEFAULT_MAX_WEIGHT = 10;

export const childrenGrant: Parser<ChildrenGrant> = withDefault(
  checkedGrant(
    object<ChildrenGrant>({
      ...grantFields,
      maxWeight: withDefault(integer({ min: 1, max: MAX_WEIGHT }), DEFAULT_MAX_WEIGHT),
    }),
  ),
  { ...SAME_NAMESPACE, maxWeight: DEFAULT_MAX_WEIGHT },
);
