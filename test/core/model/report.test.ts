import { expect, test } from '@jest/globals';
import { parseReport } from '../../../shared/core/model/report';

test.each([
  ['text that is not JSON', 'bash: not found'],
  ['another JSON document', '{"result":"well","probes":[1]}'],
])('rejects %s with an error on one line', (_, text) => {
  expect(() => parseReport(text)).toThrow(/^The node returned .*, which is not a peermasq report: .+$/);
});
