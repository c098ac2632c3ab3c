// Draws random comments, messages and test titles for a reader to review: `npm run lint:sample -- --seed 7`.
import { randomInt } from 'node:crypto';
import { existsSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { listFiles, readText } from './files';
import { readPassages } from './text';

const { values } = parseArgs({
  options: { seed: { type: 'string' }, count: { type: 'string', default: '30' } },
});
const seed = Number(values.seed ?? randomInt(1_000_000));

/**
 * A linear congruential generator (Numerical Recipes). The same seed draws the same sample if the files are the same.
 */
let state = seed >>> 0;
const next = (below: number): number => {
  state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
  return Math.floor((state / 2 ** 32) * below);
};

const isProse = (text: string): boolean =>
  text.split(/\s+/u).filter((word) => /^[A-Za-z]{2,}/u.test(word)).length >= 4;
const passages = listFiles()
  .filter(
    (file) =>
      existsSync(file) && /\.(?:[cm]?ts|mjs|cjs|bash|tf|sh)$/u.test(file) && !file.includes('/dumps/'),
  )
  .flatMap((file) => readPassages(file, readText(file)).map((passage) => ({ file, ...passage })))
  .filter(({ original }) => isProse(original));

console.log(`seed ${String(seed)}: ${values.count} of ${String(passages.length)} passages`);
for (let drawn = 0; drawn < Number(values.count); drawn += 1) {
  const [passage] = passages.splice(next(passages.length), 1);
  if (passage)
    console.log(
      `${passage.file}:${String(passage.line)} ${passage.original.replaceAll(/\s+|\*\/$/gu, ' ').trim()}`,
    );
}
