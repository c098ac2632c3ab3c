import type { TSESLint } from '@typescript-eslint/utils';

type Rule<Id extends string> = {
  readonly messages: Record<Id, string>;
  readonly create: (context: Readonly<TSESLint.RuleContext<Id, []>>) => TSESLint.RuleListener;
};

/** Makes a rule of this repository, without options; docs/style.md gives the reason for each of them. */
export const createRule = <Id extends string>({ messages, create }: Rule<Id>): TSESLint.RuleModule<Id> => ({
  meta: { type: 'suggestion', messages, schema: [], defaultOptions: [] },
  create,
});
