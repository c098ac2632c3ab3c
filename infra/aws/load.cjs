// Loads TypeScript for the Serverless Framework, which accepts only JavaScript in ${file(…)}.
const { join } = require('node:path');
const { require: load } = require('tsx/cjs/api');

const params = ['alarmEmail', 'objectiveMinutes', 'sweepMinutes', 'launchGate', 'memberAccounts', 'runbook'];

module.exports = async ({ resolveVariable, resolveConfigurationProperty }) => {
  const { stackResources } = load('./resources.ts', module.filename);
  const read = { stage: await resolveVariable('sls:stage') };
  for (const param of params) read[param] = await resolveVariable(`param:${param}`);
  read.functions = await resolveConfigurationProperty(['functions']);
  return { Resources: stackResources(join(module.path, '../..'), read) };
};
