const { default: Sequencer } = require('@jest/test-sequencer');

/** The slowest test files, which mostly wait. If they began last, the other workers would be idle in the meantime. */
const slowest = [
  'node/watch',
  'node/rules',
  'functions/cli/doctor-aws',
  'functions/cli/doctor-gcp',
  'contracts/gcp',
  'node/environments',
  'node/packets',
  'functions/aws/node-joined',
  'functions/cli/backfill',
  'functions/aws/runtime/launch-gate',
  'lab/demo/run-scenarios',
  'functions/gcp/node-joined',
];

/** jest orders files by how long each took in the last run. On a new machine, jest orders them by size. */
module.exports = class extends Sequencer {
  sort(tests) {
    const rank = ({ path }) => {
      const index = slowest.findIndex((name) => path.endsWith(`/test/${name}.test.ts`));
      return index < 0 ? slowest.length : index;
    };
    return [...super.sort(tests)].sort((a, b) => rank(a) - rank(b));
  }
};
