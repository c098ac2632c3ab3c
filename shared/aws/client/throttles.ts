const throttles =
  /^(RequestLimitExceeded|EC2ThrottledException|RequestThrottled|Throttl.*|TooManyRequestsException)$/;

/** Whether AWS refused a call because there were too many. */
export function isThrottle(thrown: unknown): boolean {
  return thrown instanceof Error && throttles.test(thrown.name);
}
