/** Waits until the claim holds; fails after the deadline with what it was about. */
export async function until(claim: () => boolean | Promise<boolean>, what: string, deadlineMs = 30_000): Promise<void> {
  const started = performance.now();
  while (!(await claim())) {
    if (performance.now() - started > deadlineMs) throw new Error(`not within ${deadlineMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
