import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';

/**
 * Returns the members of the official clients that the sources use, as `CLASS.member`. Classes are found by type, so
 * variable names do not matter.
 * @param folders the folders to search
 * @param clients a pattern for the paths of the clients' declaration files
 * @returns one set for each folder
 */
export function clientMembersUsed(folders: readonly string[], clients: RegExp): Set<string>[] {
  const files = folders.map(sourcesIn);
  const options: ts.CompilerOptions = {
    strict: true,
    lib: ['lib.es2023.d.ts'],
    types: [],
    module: ts.ModuleKind.Preserve,
    moduleResolution: ts.ModuleResolutionKind.Bundler,
  };
  const program = ts.createProgram(
    files.flat(),
    options,
    withoutOthers(ts.createCompilerHost(options), clients),
  );
  const checker = program.getTypeChecker();
  const visit = (node: ts.Node, members: Set<string>): void => {
    if (ts.isPropertyAccessExpression(node)) {
      const declaration = checker.getSymbolAtLocation(node.name)?.declarations?.[0];
      const owner = declaration?.parent;
      if (owner && ts.isClassDeclaration(owner) && clients.test(owner.getSourceFile().fileName)) {
        members.add(`${owner.name?.text ?? ''}.${node.name.text}`);
      }
    }
    ts.forEachChild(node, (child) => {
      visit(child, members);
    });
  };
  return files.map((some) => {
    const members = new Set<string>();
    for (const file of some) {
      const source = program.getSourceFile(file);
      if (source) visit(source, members);
    }
    return members;
  });
}

/**
 * Makes the compiler load no declarations of packages except the clients' classes. The message types are 33 MB in size.
 */
function withoutOthers(host: ts.CompilerHost, clients: RegExp): ts.CompilerHost {
  const counts = (name: string) =>
    !name.includes('/node_modules/') || name.includes('/typescript/lib/') || clients.test(name);
  return {
    ...host,
    getSourceFile: (name, version, ...rest) =>
      counts(name)
        ? host.getSourceFile(name, version, ...rest)
        : ts.createSourceFile(name, 'export {};', version),
  };
}

/** Returns the AWS SDK commands that the sources in a folder import, as pairs of client and command. */
export function clientCommandsUsed(folder: string): [client: string, command: string][] {
  const imports = /import \{([^}]*)\} from '@aws-sdk\/client-([\w-]+)'/g;
  const pairs = sourcesIn(folder).flatMap((file) =>
    [...readFileSync(file, 'utf8').matchAll(imports)].flatMap(([, names = '', client = '']) =>
      Array.from(names.matchAll(/\b\w+Command\b/g), ([command]) => `${client} ${command}`),
    ),
  );
  return [...new Set(pairs)].sort().map((pair) => pair.split(' ') as [string, string]);
}

/** Returns the source files in a folder and its subfolders, without reach/, which is used only by the command line. */
const sourcesIn = (folder: string): string[] =>
  readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts') && !name.startsWith('reach/'))
    .map((name) => join(folder, name));
