import { measureColdStarts, type ColdStart } from './cold-start';

/** Every performance figure, as ratios within this run: `npm run bench`; with `-- --json` one document on stdout. */
async function main(): Promise<void> {
  const coldStarts = await measureColdStarts(10);
  if (process.argv.includes('--json')) {
    console.log(JSON.stringify({ coldStarts }, null, 2));
    return;
  }
  for (const { name, rounds, plain, pruned, ratio } of coldStarts) {
    console.log(`${name}, import and first call, ${rounds} pairs`);
    console.log(
      `  plain   ${print(plain)}\n  pruned  ${print(pruned)}\n  ${ratio.toFixed(1)} times faster\n`,
    );
  }
}

const print = ({ ms, rssMb, kb }: ColdStart): string =>
  `${ms.median} ms (${ms.min} to ${ms.max}), ${rssMb.median} MB resident, ${kb} KB`;

main().catch((error: unknown) => {
  console.error(error);
  // Doubles may still be listening.
  process.exit(1);
});
