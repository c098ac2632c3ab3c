/** How many milliseconds to wait for one's turn, told at `now`; undefined, and no turn, where it is too long. */
export type Turns = (now: number) => number | undefined;

/**
 * A token bucket, waited at instead of overdrawn: `atOnce` turns at once, then one in each `everyMs`.
 * @param longestMs whoever had to wait for longer has no turn
 */
export function takeTurns(atOnce: number, everyMs: number, longestMs = Infinity): Turns {
  let free = 0;
  return (now) => {
    const next = Math.max(free + everyMs, now - (atOnce - 1) * everyMs);
    if (next - now > longestMs) return undefined;
    free = next;
    return Math.max(0, free - now);
  };
}
