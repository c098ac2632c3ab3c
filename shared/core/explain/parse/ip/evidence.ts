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
      const isFamily = (one: { readonly family: Family }) => one.family === family;
      const isMissing = (object: IpCommand['object'], isShown: boolean) =>
        this.cut.has(keyOf(object, family)) ||
        (!(isShown && !this.hasCounts) && !this.complete.has(keyOf(object, family)));
      return [
        ...(isMissing('addr', addresses.length > 0) ? [{ kind: 'addresses', family } as const] : []),
        ...(isMissing('route', routes.some(isFamily)) ? [{ kind: 'routes', family } as const] : []),
        ...(isMissing('rule', routingRules.some(isFamily))
          ? [{ kind: 'routing-rules', family } as const]
          : []),
      ];
    });
  }
}

const keyOf = (object: IpCommand['object'], family: Family) => `${object} ${family}`;
