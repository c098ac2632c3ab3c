import { expect, test } from '@jest/globals';
import { parseReport } from '../../../shared/core/model/report';

test.each([
  ['no JSON', 'bash: not found'],
  ['another document', '{"result":"well","probes":[1]}'],
])('%s is told on one line', (_, text) => {
  expect(() => parseReport(text)).toThrow(/^The node answered .*, which is not a peermasq report: .+$/);
});
