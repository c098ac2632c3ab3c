import { describe, expect, test } from '@jest/globals';
import { Linter } from '@typescript-eslint/utils/ts-eslint';
import tseslint from 'typescript-eslint';
import { plugin } from '../../../infra/lint/plugin';

type Cases = {
  readonly valid: readonly string[];
  readonly invalid: readonly { readonly code: string; readonly messages: readonly string[] }[];
};

const cases: Record<keyof typeof plugin.rules, Cases> = {
  'no-boolean-param': {
    valid: [
      'function f(a: string, { isOn }: { isOn: boolean }) {}',
      'const f = (a: boolean[], b: () => boolean): boolean => true;',
      'type F = (a: string) => boolean;',
    ],
    invalid: [
      'function f(a: boolean) {}',
      'const f = (isOn = false) => 1;',
      'class C { constructor(private readonly isOn: boolean) {} }',
      'class C { m(isOn: boolean | undefined) {} }',
      'type F = (isOn: true) => void;',
      'interface I { m(isOn?: boolean): void }',
    ].map((code) => ({ code, messages: ['boolean'] })),
  },
  'no-conditional-spread': {
    valid: [
      '({ ...a, ...f(b), ...definedOnly({ c }) })',
      '[...(a ? [b] : [])]',
      '({ ...(a ? b : c) })',
      '({ ...(a ?? b) })',
    ],
    invalid: ['({ ...(a && { a }) })', '({ ...(a ? { a } : {}) })', '({ ...(a ? b : c ? {} : d) })'].map(
      (code) => ({ code, messages: ['conditional'] }),
    ),
  },
  'no-literal-spread': {
    valid: ['({ ...a, b })', '[...[a]]'],
    invalid: [{ code: '({ ...{ a, b }, c })', messages: ['literal'] }],
  },
  'no-lying-cast': {
    valid: ['a as string', 'a as unknown', "['a', 1] as [string, number]", 'a as [string][]', '[1] as const'],
    invalid: [
      { code: 'a as unknown as string', messages: ['double'] },
      { code: '(a as any) as string', messages: ['double'] },
      { code: 'a as never', messages: ['never'] },
      { code: 'const [first] = list as [string]', messages: ['tuple'] },
      { code: 'list as readonly [string, ...string[]]', messages: ['tuple'] },
    ],
  },
  'no-tuple-assignment': {
    valid: [
      'const [a, b] = f();',
      '[a[0], a[1]] = [a[1], a[0]];',
      'const a = [1, 2];',
      'const [a] = await Promise.all([b]);',
    ],
    invalid: ['const [a, b] = [1, 2];', '[a, b] = [1, 2];', "const [a, b] = ['a', 'b'] as const;"].map(
      (code) => ({ code, messages: ['tuple'] }),
    ),
  },
  'no-wrong-word': {
    valid: [
      'const deadLetterQueue = 1;',
      "import { letters } from './letters';",
      'letters.map(String);',
      'type Kind = { constructor: string };',
      "throw new Error('a letter is in here');",
      'const view = 1;',
      'const secure = pacemaker;',
    ],
    invalid: [
      { code: 'const firstLetter = 1;', messages: ['word'] },
      { code: 'function settledOnes(fate: string, ok: number) {}', messages: ['word', 'word'] },
      { code: "import { a as letter } from './a';", messages: ['word'] },
      { code: 'type A = { toldAt: number; heal(): void };', messages: ['word', 'word'] },
      { code: 'const a = { letter: 1, b };', messages: ['word'] },
      { code: "log('EventBuried'); log('was-in-vain');", messages: ['word', 'word'] },
      { code: 'type View = string;', messages: ['type'] },
      { code: "const link = 'route-there';", messages: ['word'] },
    ],
  },
};

const lint = (rule: string, code: string) =>
  new Linter()
    .verify(code, [
      {
        languageOptions: { parser: tseslint.parser },
        plugins: { peermasq: plugin },
        rules: { [`peermasq/${rule}`]: 'error' },
      },
    ])
    .map(({ messageId, message }) => messageId ?? message);

describe.each(Object.entries(cases))('%s', (rule, { valid, invalid }) => {
  test.each(valid)('accepts %s', (code) => {
    expect(lint(rule, code)).toEqual([]);
  });

  test.each(invalid)('rejects $code', ({ code, messages }) => {
    expect(lint(rule, code)).toEqual(messages);
  });
});
