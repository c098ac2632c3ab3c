import { calledChain, DumpError, type Chain, type Table } from '../model';

const maxCallDepth = 500;

/** The kernel rejects chain loops, and no real rule set comes close to this depth. */
export function checkCallDepth(table: Table, lineNumber: number): void {
  const visiting = new Set<Chain>();
  const depths = new Map<Chain, number>();
  const fail = (found: string, expected: string): never => {
    throw new DumpError({ line: lineNumber, found, expected });
  };
  const depthOf = (chain: Chain): number => {
    const known = depths.get(chain);
    if (known !== undefined) return known;
    if (visiting.has(chain)) fail(`chain ${chain.name}, which calls itself`, 'chains without loops');
    visiting.add(chain);
    let depth = 0;
    for (const target of chain.rules.flatMap(({ targets }) => targets)) {
      const called = calledChain(target, table);
      if (called) depth = Math.max(depth, depthOf(called) + 1);
    }
    if (Math.max(depth, visiting.size) > maxCallDepth)
      fail(`chain ${chain.name}`, `at most ${maxCallDepth} levels of chains`);
    visiting.delete(chain);
    depths.set(chain, depth);
    return depth;
  };
  for (const chain of table.chains.values()) depthOf(chain);
}
