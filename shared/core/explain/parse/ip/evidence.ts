import type { Family } from '../../model';
import type { MissingPart, Snapshot } from '../../snapshot';
import type { IpCommand } from './command';

const families: readonly Family[] = [4, 6];

/** What a dump shows of a node's addresses, routes and routing rules. */
export class IpEvidence {
  private readonly complete = new Set<string>();
  private readonly cut = new Set<string>();
  private hasCounts = false;

  /** Records that the dump names every command with a count of lines. Lines without their command are a rest then. */
  requireCommands(): void {
    this.hasCounts = true;
  }

  addCommand({ object, family, isComplete, isCut }: IpCommand): void {
    for (const each of family === undefined ? families : [family]) {
      if (isComplete) this.complete.add(keyOf(object, each));
      if (isCut) this.cut.add(keyOf(object, each));
    }
  }

  /** Returns what the dump neither shows nor shows to be absent. */
  missing(shown: Pick<Snapshot, 'addresses' | 'routes' | 'routingRules'>): MissingPart[] {
    const { addresses, routes, routingRules } = shown;
    return families.flatMap((family) => {
      const ofFamily = (list: readonly { readonly family: Family }[]) =>
        list.filter((one) => one.family === family);
      const lists = [
        { object: 'addr', kind: 'addresses', list: addresses },
        { object: 'route', kind: 'routes', list: ofFamily(routes) },
        { object: 'rule', kind: 'routing-rules', list: ofFamily(routingRules) },
      ] as const;
      return lists
        .filter(({ object, list }) => this.isMissing(keyOf(object, family), list.length))
        .map(({ kind }) => ({ kind, family }));
    });
  }

  private isMissing(key: string, count: number): boolean {
    if (this.cut.has(key)) return true;
    return !this.complete.has(key) && (this.hasCounts || count === 0);
  }
}

const keyOf = (object: IpCommand['object'], family: Family) => `${object} ${family}`;
