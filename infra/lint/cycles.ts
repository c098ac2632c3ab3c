import { execFileSync } from 'node:child_process';
import * as z from 'zod';
import type { Violation } from './files';

const result = z.object({
  summary: z.object({
    violations: z.array(z.object({ from: z.string(), cycle: z.array(z.object({ name: z.string() })) })),
  }),
});

/** Finds files that import each other, directly or through other files. */
export function findCycles(): Violation[] {
  const config = ['--config', 'infra/lint/dependency-cruiser.cjs', '--output-type', 'json', '--no-progress'];
  const output = execFileSync(
    'node_modules/.bin/depcruise',
    [...config, 'functions', 'shared', 'infra', 'test'],
    { encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 },
  );
  return result.parse(JSON.parse(output)).summary.violations.map(({ from, cycle }) => ({
    file: from,
    line: 1,
    message: `import cycle: ${[from, ...cycle.map(({ name }) => name)].join(' → ')}`,
  }));
}
