import { AST_NODE_TYPES, type TSESTree } from '@typescript-eslint/types';
import { createRule } from './rule';

/** Rejects `{ ...(a && { a }) }` and `{ ...(a ? { a } : {}) }`. definedOnly is easier to read. */
export const noConditionalSpread = createRule({
  messages: { conditional: 'Spread definedOnly({ … }) instead of a conditional object.' },
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
