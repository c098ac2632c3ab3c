/** How many milliseconds to wait for one's turn, told at `now`; each call takes a turn. */
export type Turns = (now: number) => number;

/** A token bucket, waited at instead of overdrawn: `atOnce` turns at once, then one in each `everyMs`. */
export function takeTurns(atOnce: number, everyMs: number): Turns {
  let free = 0;
  return (now) => {
    free = Math.max(free + everyMs, now - (atOnce - 1) * everyMs);
    return Math.max(0, free - now);
  };
}
