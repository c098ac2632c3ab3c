/** What the comment of a command tells whoever reads its results and did not send it. */
export interface CommandComment {
  readonly ruleSetId: string;
  readonly generation: number;
  readonly routes: number;
}

/** At most 100 characters (SSM API reference, SendCommand). The begin of the id is for people. */
export function printComment({ ruleSetId, generation, routes }: CommandComment): string {
  return `peermasq ${ruleSetId.slice(0, 12)} generation ${generation} routes ${routes}`;
}

/** Undefined for a command that somebody else sent. Of the id there is the begin. */
export function parseComment(text: string): CommandComment | undefined {
  const pattern =
    /^peermasq (?<ruleSetId>[0-9a-f]{12}) generation (?<generation>\d{1,15}) routes (?<routes>\d{1,6})$/;
  const { ruleSetId, generation, routes } = pattern.exec(text)?.groups ?? {};
  if (ruleSetId === undefined || generation === undefined || routes === undefined) return undefined;
  return { ruleSetId, generation: Number(generation), routes: Number(routes) };
}
