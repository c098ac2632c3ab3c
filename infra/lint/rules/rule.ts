import type { TSESLint } from '@typescript-eslint/utils';

type Rule<Id extends string> = {
  readonly messages: Record<Id, string>;
  readonly create: (context: Readonly<TSESLint.RuleContext<Id, []>>) => TSESLint.RuleListener;
};

/** Creates a rule without options. docs/style.md gives the reason for each rule. */
export const createRule = <Id extends string>({ messages, create }: Rule<Id>): TSESLint.RuleModule<Id> => ({
  meta: { type: 'suggestion', messages, schema: [], defaultOptions: [] },
  create,
});
