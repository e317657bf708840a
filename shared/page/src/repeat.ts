/** Asks again and again: with the interval that the answer gives, and after a failure with growing pauses. */

/** The first pause after a failure, in milliseconds. Each further one is twice as long. */
export const FIRST_PAUSE = 1000;
/** The longest pause after a failure, in milliseconds. */
export const LONGEST_PAUSE = 30_000;
/** How often a hidden tab asks, in milliseconds. */
export const HIDDEN_PAUSE = 60_000;

/** Time as a tab has it. */
export interface TabClock {
  /** Waits. Ends early if `signal` is aborted, or if something says that it is worth trying now. */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
  isHidden(): boolean;
}

/** A failure after which another try can succeed. `after`: the milliseconds for which the server asks. */
export interface Passing {
  passing: true;
  after: number | undefined;
}

export function isPassing(error: unknown): error is Passing & Error {
  return error instanceof Error && (error as Partial<Passing>).passing === true;
}

export interface Reports {
  /** A try failed; the next one is in `pause` milliseconds. */
  failed(error: Error, pause: number): void;
  succeeded(): void;
}

/**
 * Calls `step` until it returns `undefined` or `signal` is aborted. `step` returns the milliseconds to the next call. Throws what `step`
 * throws, unless another try can succeed.
 */
export async function repeat(
  step: (signal: AbortSignal, alive: () => void) => Promise<number | undefined>,
  signal: AbortSignal,
  clock: TabClock,
  reports: Reports,
): Promise<void> {
  let failures = 0;
  const alive = () => {
    failures = 0;
    reports.succeeded();
  };
  while (!signal.aborted) {
    let pause: number | undefined;
    try {
      pause = await step(signal, alive);
      if (signal.aborted) return;
      alive();
      if (pause === undefined) return;
      if (clock.isHidden()) pause = Math.max(pause, HIDDEN_PAUSE);
    } catch (error) {
      if (signal.aborted) return;
      if (!isPassing(error)) throw error;
      pause = Math.max(error.after ?? 0, Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** failures));
      failures++;
      reports.failed(error, pause);
    }
    await clock.sleep(pause, signal);
  }
}
