import { existsSync } from 'node:fs';
import { listFiles, readText, type Violation } from './files';
import { isBash, splitBash } from './text';
import { findWrongWord } from './words';

/** Checks paths and the names in bash programs. ESLint checks the names in TypeScript (rules/no-wrong-word.ts). */
export function findNames(paths: readonly string[] = []): Violation[] {
  const files = listFiles(paths).filter((file) => existsSync(file));
  return [
    // The names of documentation pages are titles, and titles are prose.
    ...findInPaths(files.filter((file) => !file.startsWith('docs/'))),
    ...files
      .filter((file) => !/\.\w+$/u.test(file) || file.endsWith('sh'))
      .flatMap((file) => {
        const source = readText(file);
        return isBash(file, source) ? findInBash(file, source) : [];
      }),
  ];
}

/** Checks each file and folder name once. */
export function findInPaths(files: readonly string[]): Violation[] {
  const paths = new Set(
    files.flatMap((file) => file.split('/').map((_, depth, parts) => parts.slice(0, depth + 1).join('/'))),
  );
  return [...paths].flatMap((file) => report(file, 1, file.split('/').at(-1) ?? ''));
}

const declarations = [
  // name() {, function name
  /^[ \t]*(?:function[ \t]+)?([A-Za-z_]\w*)[ \t]*\(\)/gmu,
  // name=value, also after local, declare, readonly and export
  /(?<=^|[\s;({])([A-Za-z_]\w*)(?:\[[^\]]*\])?\+?=/gmu,
  // for name in
  /\bfor[ \t]+([A-Za-z_]\w*)[ \t]+in\b/gu,
];
/** Matches commands whose arguments are names. */
const lists =
  /\b(?:local|declare|readonly|read|mapfile|unset)((?:[ \t]+-\w+)*(?:[ \t]+[A-Za-z_]\w*(?:=\S*)?)+)/gu;

/** Checks each function and variable of a program once, at its first occurrence. */
export function findInBash(file: string, source: string): Violation[] {
  const { code } = splitBash(source);
  const found = new Map<string, number>();
  const add = (name: string, index: number) => {
    if (!found.has(name)) found.set(name, code.slice(0, index).split('\n').length);
  };
  for (const pattern of declarations) {
    for (const match of code.matchAll(pattern)) add(match[1] ?? '', match.index);
  }
  for (const match of code.matchAll(lists)) {
    const names = (match[1] ?? '').split(/[ \t]+/u).filter((word) => /^[A-Za-z_]/u.test(word));
    for (const name of names) add(name.replace(/=.*/u, ''), match.index);
  }
  return [...found].flatMap(([name, line]) => report(file, line, name));
}

function report(file: string, line: number, name: string): Violation[] {
  const wrong = findWrongWord(name);
  return wrong ? [{ file, line, message: `"${wrong.word}" in the name ${name}: use ${wrong.use}` }] : [];
}
