import { AST_NODE_TYPES, type TSESTree } from '@typescript-eslint/types';
import { createRule } from './rule';

/**
 * Rejects boolean parameters. In `f(node, true)` the reader cannot see what `true` means; an object or two functions
 * are clearer.
 */
export const noBooleanParam = createRule({
  messages: { boolean: 'Boolean parameter "{{name}}": use an object, or write two functions.' },
  create(context) {
    const check = ({ params }: { params: TSESTree.Parameter[] }) => {
      for (const param of params) {
        const { name, isBoolean } = describeParam(param);
        if (isBoolean) context.report({ node: param, messageId: 'boolean', data: { name } });
      }
    };
    return {
      ArrowFunctionExpression: check,
      FunctionDeclaration: check,
      FunctionExpression: check,
      TSEmptyBodyFunctionExpression: check,
      TSDeclareFunction: check,
      TSFunctionType: check,
      TSMethodSignature: check,
      TSCallSignatureDeclaration: check,
      TSConstructSignatureDeclaration: check,
    };
  },
});

function describeParam(param: TSESTree.Parameter): { name: string; isBoolean: boolean } {
  switch (param.type) {
    case AST_NODE_TYPES.TSParameterProperty:
      return describeParam(param.parameter);
    case AST_NODE_TYPES.AssignmentPattern: {
      const { name, isBoolean } = describeParam(param.left);
      return { name, isBoolean: isBoolean || isBooleanLiteral(param.right) };
    }
    case AST_NODE_TYPES.Identifier:
      return { name: param.name, isBoolean: isBooleanType(param.typeAnnotation?.typeAnnotation) };
    default:
      return { name: '', isBoolean: false };
  }
}

const isBooleanLiteral = (node: TSESTree.Node) =>
  node.type === AST_NODE_TYPES.Literal && typeof node.value === 'boolean';

function isBooleanType(type: TSESTree.TypeNode | undefined): boolean {
  switch (type?.type) {
    case AST_NODE_TYPES.TSBooleanKeyword:
      return true;
    case AST_NODE_TYPES.TSLiteralType:
      return isBooleanLiteral(type.literal);
    case AST_NODE_TYPES.TSUnionType:
      return type.types.some(isBooleanType);
    default:
      return false;
  }
}
