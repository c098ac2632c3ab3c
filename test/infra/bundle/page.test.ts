import { expect, test } from '@jest/globals';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';

const html = readFileSync('dist/page/index.html', 'utf8');

test('the page has at most 150 KB when it is compressed', () => {
  expect(gzipSync(html).length).toBeLessThan(150 * 1024);
});

test('the page loads nothing', () => {
  expect(html).not.toMatch(/<(link|img|iframe|script|object)\b[^>]*\b(src|href|data)=/);
  expect(html).toContain("default-src 'none'");
});

test.each(['script', 'style'])('the content security policy allows only the %s of the page', (element) => {
  const [, content = ''] = new RegExp(`<${element}>(.*?)</${element}>`, 's').exec(html) ?? [];
  const digest = createHash('sha256').update(content).digest('base64');
  expect(html).toContain(`${element}-src 'sha256-${digest}'`);
});
