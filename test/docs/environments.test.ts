import { expect, test } from '@jest/globals';
import { readFileSync } from 'node:fs';
import { reasonCodes } from '../../shared/core/model/report';
import { environments } from '../node/environments';
import { cellsOf, parseCells } from './environment-cells';

const page = readFileSync('docs/environments.md', 'utf8');
const byName = <T extends { readonly name: string }>(items: readonly T[]) =>
  items.toSorted((a, b) => a.name.localeCompare(b.name));

test('docs/environments.md lists every environment with the results that its test expects', () => {
  expect(byName(parseCells(page))).toEqual(byName(environments.map(cellsOf)));
});

test.each(reasonCodes)('docs/environments.md explains the code %s', (code) => {
  expect(page.slice(page.indexOf('## Why a node is not proven'))).toContain(`\`${code}\``);
});
