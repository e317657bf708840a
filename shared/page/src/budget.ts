/**
 * Streams that all tabs together may hold. A browser has six connections to a plain HTTP server: with more streams than this, the next
 * tab would hang.
 */

export const STREAMS = 4;

/** The part of the Web Locks API that is used. */
export interface Locks {
  request(name: string, options: { ifAvailable: true }, held: (lock: unknown) => unknown): Promise<unknown>;
}

/**
 * Takes one of the streams. Returns the function that gives it back; none if all are taken, or if the browser has no locks (outside of
 * https and localhost): then the caller asks from time to time instead.
 */
export async function takeStream(locks: Locks | undefined): Promise<(() => void) | undefined> {
  if (!locks) return undefined;
  for (let n = 0; n < STREAMS; n++) {
    const release = await tryLock(locks, `wfg-stream-${n}`);
    if (release) return release;
  }
  return undefined;
}

function tryLock(locks: Locks, name: string): Promise<(() => void) | undefined> {
  return new Promise((resolve) => {
    const held = (lock: unknown) => {
      if (lock === null) return resolve(undefined);
      return new Promise<void>((release) => resolve(release));
    };
    locks.request(name, { ifAvailable: true }, held).catch(() => resolve(undefined));
  });
}
