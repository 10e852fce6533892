/** Which sidecars and operators understand each other. */

export interface SidecarVersion {
  /** `major.minor.patch` of this build. */
  readonly sidecarVersion: string;
  /** Engine library versions this build can call. */
  readonly engineVersions: readonly string[];
}

/** True when `version` comes before `minimum`; both are `major.minor.patch`, what follows a `-` does not count. */
export function isOlder(version: string, minimum: string): boolean {
  const [ours, theirs] = [numbersOf(version), numbersOf(minimum)];
  for (let i = 0; i < 3; i++) {
    const difference = (ours[i] ?? 0) - (theirs[i] ?? 0);
    if (difference !== 0) return difference < 0;
  }
  return false;
}

function numbersOf(version: string): number[] {
  return (version.split('-')[0] ?? '').split('.').map(Number);
}
