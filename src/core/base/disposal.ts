/** Counts what must be freed, so that a test can see what is alive. */

const alive = new Map<string, number>();

/** Notes that a resource of this kind was created; the returned function, called once or more, notes its end once. */
export function trackResource(kind: string): () => void {
  alive.set(kind, (alive.get(kind) ?? 0) + 1);
  let ended = false;
  return () => {
    if (ended) return;
    ended = true;
    alive.set(kind, (alive.get(kind) ?? 1) - 1);
  };
}

/** How many resources of a kind (or of all kinds) are alive. */
export function aliveResources(kind?: string): number {
  return kind === undefined ? [...alive.values()].reduce((a, b) => a + b, 0) : (alive.get(kind) ?? 0);
}
