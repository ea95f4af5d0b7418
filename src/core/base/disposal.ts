/** What must be freed: counted, so that a test can see what is alive, and freed where it never becomes ready. */

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

/** A resource once it is ready. Where it does not become so, it is disposed of and its error thrown. */
export async function onceReady<R extends AsyncDisposable & { ready(): Promise<void> }>(resource: R): Promise<R> {
  try {
    await resource.ready();
  } catch (error) {
    await resource[Symbol.asyncDispose]();
    throw error;
  }
  return resource;
}
