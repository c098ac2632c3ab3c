import ts from 'typescript';

/** A text for human readers, with the line on which it starts. */
export interface Passage {
  /** The prose to check. Quotations and names between back quotes are replaced with spaces. */
  readonly text: string;
  /** The text as a reader sees it. */
  readonly original: string;
  readonly line: number;
}

const toPassage = (original: string, line: number): Passage => ({
  text: blankQuotations(original),
  original,
  line,
});

/** Returns the comments and strings of a program, or the whole text of a file that is mostly text. */
export function readPassages(file: string, source: string): Passage[] {
  if (/\.[cm]?[jt]s$/u.test(file)) return readTypeScript(file, source);
  if (file.endsWith('.md')) return [toPassage(source, 1)];
  if (/\.(?:ya?ml|tf)$/u.test(file)) {
    const original = blankCommentMarks(source);
    return [{ text: original, original, line: 1 }];
  }
  if (isBash(file, source)) return splitBash(source).passages;
  return [];
}

export const isBash = (file: string, source: string): boolean =>
  /\.(?:sh|bash)$/u.test(file) || /^#!.*\b(?:bash|sh)\n/u.test(source);

/** Replaces everything except line breaks with spaces, so that offsets and line numbers do not change. */
const blank = (text: string) => text.replaceAll(/[^\n]/gu, ' ');

/** Removes block quotes and text between back quotes, because these are quotations or names, not prose. */
const blankQuotations = (source: string) =>
  source.replaceAll(/^>.*$/gmu, blank).replaceAll(/(?<!`)`[^`\n]+`(?!`)/gu, blank);

/** Removes the comment markers at the start of lines, so that a sentence can continue across lines. */
const blankCommentMarks = (text: string) => text.replaceAll(/^\s*(?:#+|\/\/|\/?\*+\/?)/gmu, blank);

function readTypeScript(file: string, source: string): Passage[] {
  const tree = ts.createSourceFile(file, source, ts.ScriptTarget.Latest, true);
  const passages: Passage[] = [];
  const add = (text: string, start: number) => {
    const line = tree.getLineAndCharacterOfPosition(start).line + 1;
    passages.push(toPassage(text, line));
  };
  const visit = (node: ts.Node) => {
    if (ts.isTemplateExpression(node)) add(templateText(node, tree), node.getStart(tree));
    const children = node.getChildren(tree);
    if (children.length > 0) {
      children.forEach(visit);
      return;
    }
    // Between two tokens there is only white space and comments.
    const before = source.slice(node.pos, node.getStart(tree));
    if (before.trim() !== '') add(blankCommentMarks(before), node.pos);
    if (isText(node)) add(withoutBackQuotes(node.getText(tree)), node.getStart(tree));
  };
  visit(tree);
  return passages;
}

function isText(node: ts.Node): boolean {
  if (ts.isStringLiteral(node)) {
    return !ts.isImportDeclaration(node.parent) && !ts.isExportDeclaration(node.parent);
  }
  return ts.isNoSubstitutionTemplateLiteral(node);
}

/** The back quotes around a template do not quote a name. */
const withoutBackQuotes = (text: string): string => text.replaceAll(/^`|`$/gu, ' ');

/** Returns a template as one text, with `…` for each expression. Line breaks in expressions are kept. */
function templateText({ head, templateSpans }: ts.TemplateExpression, tree: ts.SourceFile): string {
  const spans = templateSpans.map(({ expression, literal }) => {
    const breaks = expression.getFullText(tree).replaceAll(/[^\n]/gu, '');
    return `…${breaks}${literal.getText(tree).slice(1)}`;
  });
  return withoutBackQuotes(`${head.getText(tree)}${spans.join('')}`.replaceAll('${', ''));
}

/** Splits bash into its code and the texts for human readers: comments, strings and here-documents. */
export function splitBash(source: string): { code: string; passages: Passage[] } {
  const token =
    /(?<=^|[\s;(])#[^\n]*(?:\n[ \t]*#[^\n]*)*|\\[^]|\$?'(?:[^'\\]|\\[^])*'|"(?:[^"\\]|\\[^])*"|(?<!<)<<-?\s*(['"]?)(\w+)\1[^\n]*\n[^]*?\n\s*\2(?=\n|$)/gu;
  const passages: Passage[] = [];
  const code = source.replaceAll(token, (text: string, ...groups: unknown[]) => {
    if (text.startsWith('\\')) return text;
    const offset = Number(groups.at(-2));
    const line = source.slice(0, offset).split('\n').length;
    // A variable in a string is a name and not prose.
    const prose = text.replaceAll(/\$\{[^}]*\}|\$\w+/gu, blank);
    passages.push({ ...toPassage(blankCommentMarks(prose), line), original: blankCommentMarks(text) });
    return blank(text);
  });
  return { code, passages };
}
