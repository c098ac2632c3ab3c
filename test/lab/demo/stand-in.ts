// STAND-IN, to be deleted: adds the rule by hand, as the write-ups did, where the event, the handlers and the
// node program belong.
import type { Networks } from '../networks';
import type { LocalCloud, Pass, Say } from './scenario';

export function addRuleByHand(networks: Networks): Promise<LocalCloud> {
  return Promise.resolve({
    sendEvent: (say) => addRule(networks, say),
    close: () => Promise.resolve(),
  });
}

async function addRule({ node, topology }: Networks, say: Say): Promise<Pass> {
  const startedAt = performance.now();
  say('event', 'none: the rule is added by hand');
  const rule = ['-d', `${topology.peer.address}/32`, '-o', 'eth0', '-j', 'MASQUERADE'];
  const { status } = await node.run(['iptables', '-t', 'nat', '-C', 'POSTROUTING', ...rule]);
  if (status !== 0) await node.run(['iptables', '-t', 'nat', '-I', 'POSTROUTING', ...rule]);
  await node.run(['conntrack', '-D', '-s', topology.node.pods.pod]);
  return {
    eventToProvenMs: Math.round(performance.now() - startedAt),
    ruleset: 'none',
    rules: [`-A POSTROUTING ${rule.join(' ')}`],
    lookedUp: ['nothing'],
    proof: {
      ...{ result: status === 0 ? 'unchanged' : 'applied', proven: true, id: null, generation: null },
      ...{ backend: 'iptables-nft', rules: 1, healed: 1, persisted: 'no', warnings: [], probes: [] },
    },
  };
}
