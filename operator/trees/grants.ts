/** Which namespaces a grant admits. Grants are checked edge by edge and are never transitive. */
import type { LabelSelector, NamespaceGrant } from '../api/v1alpha1/fields.ts';
import type { NamespaceLabels } from './terms.ts';

export function selects(selector: LabelSelector, labels: NamespaceLabels): boolean {
  const pairs = Object.entries(selector.matchLabels);
  if (!pairs.every(([key, value]) => labels[key] === value)) return false;
  return selector.matchExpressions.every(({ key, operator, values }) => {
    const value = labels[key];
    switch (operator) {
      case 'In':
        return value !== undefined && values.includes(value);
      case 'NotIn':
        return value === undefined || !values.includes(value);
      case 'Exists':
        return value !== undefined;
      case 'DoesNotExist':
        return value === undefined;
    }
  });
}

/** Whether `grant`, given by an object in namespace `owner`, admits namespace `asking`. An unknown namespace has no labels. */
export function admits(
  grant: NamespaceGrant,
  owner: string,
  asking: string,
  namespaces: ReadonlyMap<string, NamespaceLabels>,
): boolean {
  switch (grant.from) {
    case 'None':
      return false;
    case 'Same':
      return owner === asking;
    case 'All':
      return true;
    case 'Selector':
      return grant.selector !== null && selects(grant.selector, namespaces.get(asking) ?? {});
  }
}
