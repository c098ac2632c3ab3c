import { AST_NODE_TYPES, type TSESTree } from '@typescript-eslint/types';
import { findWrongWord, wrongTypes } from '../words';
import { createRule } from './rule';

/**
 * Requires the field's standard terms in names. A wrong name is reported where it is declared, not where it is used.
 */
export const noWrongWord = createRule({
  messages: {
    word: 'This project does not write "{{word}}" in names: use {{use}}, or the standard term.',
    type: 'This project does not name a type "{{word}}": use {{use}}, or the standard term.',
  },
  create(context) {
    const check = (node: TSESTree.Node, name: string) => {
      const data = findWrongWord(name);
      if (data) context.report({ node, messageId: 'word', data });
    };
    const checkType = ({ id }: { id: TSESTree.Identifier | null }) => {
      const use = id ? wrongTypes.get(id.name) : undefined;
      if (id && use !== undefined)
        context.report({ node: id, messageId: 'type', data: { word: id.name, use } });
    };
    const checkKey = ({ key, computed }: { key: TSESTree.Node; computed: boolean }) => {
      if (key.type === AST_NODE_TYPES.Identifier && !computed) check(key, key.name);
    };
    return {
      'Program:exit': () => {
        for (const { variables } of context.sourceCode.scopeManager?.scopes ?? []) {
          for (const { name, defs } of variables) {
            const [definition] = defs;
            if (definition && !isSameImport(definition.node, name)) check(definition.name, name);
          }
        }
      },
      TSTypeAliasDeclaration: checkType,
      TSInterfaceDeclaration: checkType,
      ClassDeclaration: checkType,
      TSEnumDeclaration: checkType,
      TSPropertySignature: checkKey,
      TSMethodSignature: checkKey,
      PropertyDefinition: checkKey,
      MethodDefinition: checkKey,
      'ObjectExpression > Property[shorthand=false]': checkKey,
      Literal: (node) => {
        if (typeof node.value === 'string' && isName(node.value)) check(node, node.value);
      },
    };
  },
});

/** Whether an import keeps the name of the export. A wrong name is then reported at the export. */
const isSameImport = (node: TSESTree.Node, name: string) =>
  node.type === AST_NODE_TYPES.ImportSpecifier &&
  node.imported.type === AST_NODE_TYPES.Identifier &&
  node.imported.name === name;

/** Matches names in kebab-case or PascalCase, such as codes, log events and keys. */
const isName = (text: string) => /^(?:[a-z]+(?:-[a-z]+)*|(?:[A-Z][a-z]+){2,})$/u.test(text);
