import { AST_NODE_TYPES, type TSESTree } from '@typescript-eslint/types';
import { createRule } from './rule';

/** `{ ...(a && { a }) }` and `{ ...(a ? { a } : {}) }`: definedOnly says that in words. */
export const noConditionalSpread = createRule({
  messages: { conditional: 'Spread definedOnly({ … }) in place of a condition.' },
  create: (context) => ({
    'ObjectExpression > SpreadElement': (node: TSESTree.SpreadElement) => {
      if (isConditional(node.argument)) context.report({ node, messageId: 'conditional' });
    },
  }),
});

function isConditional(node: TSESTree.Expression): boolean {
  switch (node.type) {
    case AST_NODE_TYPES.LogicalExpression:
      return node.operator === '&&';
    case AST_NODE_TYPES.ConditionalExpression:
      return [node.consequent, node.alternate].some(
        ({ type }) =>
          type === AST_NODE_TYPES.ObjectExpression || type === AST_NODE_TYPES.ConditionalExpression,
      );
    default:
      return false;
  }
}
