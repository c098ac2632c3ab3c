import { AST_NODE_TYPES, type TSESTree } from '@typescript-eslint/types';
import { createRule } from './rule';

/**
 * Rejects `{ ...{ a, b }, c }`, which means `{ a, b, c }`. The inner braces only keep the formatter from breaking the
 * line.
 */
export const noLiteralSpread = createRule({
  messages: { literal: 'Write these properties in the surrounding object.' },
  create: (context) => ({
    'ObjectExpression > SpreadElement': (node: TSESTree.SpreadElement) => {
      const { type } = node.argument;
      if (type === AST_NODE_TYPES.ObjectExpression) context.report({ node, messageId: 'literal' });
    },
  }),
});
