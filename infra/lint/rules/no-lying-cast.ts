import { AST_NODE_TYPES, type TSESTree } from '@typescript-eslint/types';
import { createRule } from './rule';

/** Rejects casts that the compiler cannot check at all. Parse the value, narrow it, or use a type that fits. */
export const noLyingCast = createRule({
  messages: {
    double: 'A cast through unknown cannot be checked by the compiler.',
    never: 'A cast to never fits every type, and no value has that type.',
    tuple: 'A cast of an array to a tuple does not prove the length of the array. Use a non-empty list type.',
  },
  create: (context) => ({
    TSAsExpression: (node) => {
      const messageId = findLie(node);
      if (messageId) context.report({ node, messageId });
    },
  }),
});

const anything = [
  AST_NODE_TYPES.TSUnknownKeyword,
  AST_NODE_TYPES.TSAnyKeyword,
  AST_NODE_TYPES.TSNeverKeyword,
];

function findLie({ expression, typeAnnotation }: TSESTree.TSAsExpression) {
  const isDouble =
    expression.type === AST_NODE_TYPES.TSAsExpression &&
    anything.some((type) => type === expression.typeAnnotation.type);
  if (isDouble) return 'double';
  if (typeAnnotation.type === AST_NODE_TYPES.TSNeverKeyword) return 'never';
  const isLiteral = expression.type === AST_NODE_TYPES.ArrayExpression;
  return isTuple(typeAnnotation) && !isLiteral ? 'tuple' : undefined;
}

function isTuple(type: TSESTree.TypeNode): boolean {
  if (type.type === AST_NODE_TYPES.TSTypeOperator)
    return type.typeAnnotation ? isTuple(type.typeAnnotation) : false;
  return type.type === AST_NODE_TYPES.TSTupleType;
}
