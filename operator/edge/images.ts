/** Image references, as far as edge compares them; pure. */

/**
 * The repository of an image reference, registry and port included: what is left without digest and tag. As the
 * reference spells it: `x` and `docker.io/library/x` are two.
 */
export function repositoryOf(image: string): string {
  const [named = ''] = image.split('@', 1);
  // A colon before the last slash is that of the registry's port.
  const tag = named.indexOf(':', named.lastIndexOf('/') + 1);
  return tag === -1 ? named : named.slice(0, tag);
}
