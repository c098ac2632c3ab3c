import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import type { AxeResults } from 'axe-core';
import { chromium, type Browser, type BrowserContext, type Page } from 'playwright-core';

const file = pathToFileURL('dist/page/index.html').href;
/** The one rule that the first write-up shows, as its author pasted it. */
const oneRule = `chris@node ~ $ sudo iptables-save | grep "SNAT for outbound"
-A POSTROUTING ! -d 10.0.0.0/8 -m comment --comment "kubenet: SNAT for outbound traffic from cluster" -m addrtype ! --dst-type LOCAL -j MASQUERADE
`;

let browser: Browser;
let context: BrowserContext;
let page: Page;
/** URLs that the page requested, and errors that it reported. */
let requests: string[];
let errors: string[];

beforeAll(async () => {
  // Root cannot use Chromium's sandbox. The other options keep Chromium from calling its own services.
  browser = await chromium.launch({
    executablePath: '/usr/bin/chromium',
    chromiumSandbox: process.getuid?.() !== 0,
    args: [
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
      '--no-first-run',
    ],
  });
}, 120_000);
afterAll(() => browser.close());

beforeEach(async () => {
  context = await browser.newContext({ permissions: ['clipboard-read', 'clipboard-write'] });
  page = await context.newPage();
  requests = [];
  errors = [];
  page.on('request', (request) => requests.push(request.url()));
  page.on('pageerror', ({ message }) => errors.push(message));
  page.on('console', (message) => {
    if (message.type() === 'error') errors.push(message.text());
  });
  await page.goto(file);
  return async () => {
    await context.close();
  };
});

interface Input {
  readonly rules?: string;
  readonly from?: string;
  readonly to?: string;
}

async function explain({ rules = oneRule, from = '10.132.0.10', to = '10.193.0.3:32191' }: Input = {}) {
  await page.getByLabel("Output of the node's programs").fill(rules);
  await page.getByRole('textbox', { name: /^From/ }).fill(from);
  await page.getByRole('textbox', { name: /^To/ }).fill(to);
  await page.getByRole('button', { name: 'Explain' }).click();
  await page.locator('h2').waitFor();
}

const resultText = () => page.locator('.result').innerText();

test("the first write-up's case is answered from its own rule, without any connection", async () => {
  await explain();
  const text = await resultText();
  expect(text).toContain('not masqueraded by the tables shown');
  expect(text).toContain('the destination is inside 10.0.0.0/8');
  expect(text).toContain('MASQUERADE');
  expect(await page.locator('.path > li').count()).toBe(3);
  expect({ requests, errors }).toEqual({ requests: [file], errors: [] });
  // PEERMASQ_SCREENSHOT=docs/img/explain-page.png renews the picture in the documentation.
  const path = process.env['PEERMASQ_SCREENSHOT'];
  if (path !== undefined) await page.screenshot({ path, fullPage: true });
});

test('a connection from the page is refused, even if its code were to make one', async () => {
  const refused = await page.evaluate(() =>
    fetch('http://127.0.0.1:9/').then(
      () => 'sent',
      (error: unknown) => String(error),
    ),
  );
  expect(refused).not.toBe('sent');
  expect(errors.join('\n')).toMatch(/Content Security Policy/);
});

test('the fix can be copied', async () => {
  await explain();
  await page.getByRole('button', { name: 'Copy the fix' }).click();
  await page.getByText('Copied').waitFor();
  const copied = await page.evaluate(() => navigator.clipboard.readText());
  expect(copied).toBe(await page.locator('.fix code').innerText());
});

test('a link carries the input', async () => {
  await explain();
  const expected = await page.locator('.result > h2, .verdict').allInnerTexts();
  await page.getByRole('button', { name: 'Make a link' }).click();
  await page.getByText('is now a link').waitFor();
  const other = await context.newPage();
  await other.goto(page.url());
  expect(await other.locator('.result > h2, .verdict').allInnerTexts()).toEqual(expected);
});

test('without a destination, the page shows and draws every destination', async () => {
  await explain({ to: '' });
  expect(await page.getByRole('row').count()).toBeGreaterThan(3);
  expect(await page.locator('svg rect').count()).toBe((await page.getByRole('row').count()) - 1);
  expect(await page.getByRole('img').getAttribute('aria-label')).toMatch(
    /^Ranges of destinations: \d+ masqueraded/,
  );
});

test('it can be used with the keyboard alone', async () => {
  await page.keyboard.press('Tab');
  await page.keyboard.insertText(oneRule);
  for (const text of ['10.132.0.10', '10.193.0.3:32191']) {
    await page.keyboard.press('Tab');
    await page.keyboard.insertText(text);
  }
  await page.keyboard.press('Enter');
  await page.locator('h2').waitFor();
  expect(await page.evaluate(() => document.activeElement?.id)).toBe('result-title');
});

test.each(['light', 'dark'] as const)(
  'it has no accessibility problems that axe finds (%s)',
  async (colorScheme) => {
    await page.emulateMedia({ colorScheme });
    await explain();
    expect(await problems()).toEqual([]);
    await explain({ to: '' });
    expect(await problems()).toEqual([]);
  },
);

declare global {
  var axe: { readonly run: () => Promise<AxeResults> };
}

async function problems(): Promise<string[]> {
  await page.evaluate(readFileSync(require.resolve('axe-core'), 'utf8'));
  const results = await page.evaluate(() => globalThis.axe.run());
  return results.violations.flatMap(({ id, nodes }) => nodes.map(({ html }) => `${id}: ${html}`));
}

describe('on a narrow screen', () => {
  test.each(['10.193.0.3:32191', ''])('nothing is wider than the screen (to: %j)', async (to) => {
    await page.setViewportSize({ width: 340, height: 700 });
    await explain({ to });
    const { scrollWidth, clientWidth } = await page.evaluate(() => {
      const { documentElement: root } = document;
      return { scrollWidth: root.scrollWidth, clientWidth: root.clientWidth };
    });
    expect(scrollWidth).toBeLessThanOrEqual(clientWidth);
  });
});

test('markup in the input is shown as text', async () => {
  await explain({ rules: oneRule.replace('kubenet: SNAT', '<img src=x onerror=alert(1)>') });
  expect(await resultText()).toContain('<img src=x onerror=alert(1)>');
  expect(await page.locator('img').count()).toBe(0);
});
