import { AST_NODE_TYPES, type TSESTree } from '@typescript-eslint/types';
import { createRule } from './rule';

/**
 * Rejects `[a, b] = [x, y]`, which saves a line but is harder to read. A swap is allowed, because it avoids a
 * temporary variable.
 */
export const noTupleAssignment = createRule({
  messages: { tuple: 'Write one assignment per line.' },
  create(context) {
    const textsOf = (nodes: (TSESTree.Node | null)[]) =>
      nodes.map((node) => (node ? context.sourceCode.getText(node) : '')).toSorted();

    const check = (node: TSESTree.Node, left: TSESTree.Node, right: TSESTree.Expression | null) => {
      const value = right && withoutTypes(right);
      if (left.type !== AST_NODE_TYPES.ArrayPattern || value?.type !== AST_NODE_TYPES.ArrayExpression) return;
      const isSwap = textsOf(left.elements).join() === textsOf(value.elements).join();
      if (!isSwap) context.report({ node, messageId: 'tuple' });
    };
    return {
      AssignmentExpression: (node) => {
        check(node, node.left, node.right);
      },
      VariableDeclarator: (node) => {
        check(node, node.id, node.init);
      },
    };
  },
});

function withoutTypes(node: TSESTree.Expression): TSESTree.Expression {
  const hasTypes =
    node.type === AST_NODE_TYPES.TSAsExpression || node.type === AST_NODE_TYPES.TSSatisfiesExpression;
  return hasTypes ? withoutTypes(node.expression) : node;
}
