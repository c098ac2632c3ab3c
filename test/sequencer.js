const { default: Sequencer } = require('@jest/test-sequencer');

/** They take the longest, mostly waiting: begun last, they would keep the other workers idle. */
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

/** jest knows how long each file took the last time; on a new machine it goes by the size of the file. */
module.exports = class extends Sequencer {
  sort(tests) {
    const rank = ({ path }) => {
      const index = slowest.findIndex((name) => path.endsWith(`/test/${name}.test.ts`));
      return index < 0 ? slowest.length : index;
    };
    return [...super.sort(tests)].sort((a, b) => rank(a) - rank(b));
  }
};
