import { expect, test } from '@jest/globals';
import { emptyForm } from '../../../functions/page/form';
import { formOf, fragmentOf } from '../../../functions/page/link';

const form = {
  ...emptyForm,
  rules: '-A POSTROUTING -j MASQUERADE\n'.repeat(50),
  from: '10.60.1.9',
  to: '::1',
};

test.each([form, { ...form, protocol: 'udp' as const }, { ...form, rules: 'ünïcode → \u0000' }, emptyForm])(
  'a link carries the whole form',
  async (original) => {
    const fragment = await fragmentOf(original);
    expect(fragment).toMatch(/^[\w-]+$/);
    expect(await formOf(`#${fragment}`)).toEqual(original);
  },
);

test('input that is too long for a link gets none', async () => {
  const random = Array.from({ length: 60_000 }, (_, index) => ((index * 7919) % 65_521).toString(36)).join(
    '',
  );
  expect(await fragmentOf({ ...form, rules: random })).toBeUndefined();
});

test.each([
  ['is empty', ''],
  ['is not base64', '%%%'],
  ['is not compressed', 'AAAA'],
])('a fragment that %s is ignored', async (_, fragment) => {
  expect(await formOf(fragment)).toBeUndefined();
});

test('a fragment that is cut is ignored', async () => {
  const fragment = await fragmentOf(form);
  expect(await formOf(fragment?.slice(0, -8) ?? '')).toBeUndefined();
});

test('fields of a link that are not text are empty', async () => {
  const forged = { rules: 1, from: ['x'], protocol: 'icmp' } as unknown;
  const fragment = await fragmentOf(forged as typeof form);
  expect(await formOf(fragment ?? '')).toEqual(emptyForm);
});

test('a link that would expand to a huge form is ignored', async () => {
  const bomb = await fragmentOf({ ...form, rules: 'A'.repeat(5 * 1024 * 1024) });
  expect(bomb).toBeDefined();
  expect(await formOf(bomb ?? '')).toBeUndefined();
});
