import { gatewayOf, type NodeNetwork, type Pod, type Uplink } from './environment';
import { join, kubeProxy, table } from './node-network';

/** The settings of the AWS VPC CNI, named after its environment variables. */
export interface VpcCniSettings {
  readonly vpcRanges: readonly string[];
  readonly externalSnat?: true;
  readonly randomizeSnat?: 'prng' | 'hashrandom' | 'none';
  readonly excludeSnatCidrs?: readonly string[];
  readonly externalServiceCidrs?: readonly string[];
  /** False for a version that does not write ip rules for the ENIs' own addresses. */
  readonly eniAddressRules?: false;
  /**
   * Whether ENIs get prefixes of 16 addresses instead of single addresses. The node itself does not see the
   * difference.
   */
  readonly prefixDelegation?: true;
  /**
   * Set for a version that sets the mark of connections with nft. By default, the mark is set in iptables' nat table.
   */
  readonly connmark?: 'nftables';
  /** The mode of security groups for pods. */
  readonly enforcingMode?: 'strict' | 'standard';
}

export interface VpcCniNode {
  readonly settings: VpcCniSettings;
  /** The ENIs. The first is the primary ENI. */
  readonly enis: readonly Uplink[];
  readonly pods: readonly VpcCniPod[];
}

/** A pod has an address of the ENI with this device number (0 is the primary ENI), or a branch ENI with a VLAN ID. */
export type VpcCniPod = Pod & ({ readonly eni: number } | { readonly branch: Uplink; readonly vlan: number });

const snatFlags = { prng: ' --random-fully', hashrandom: ' --random', none: '' };
const tableOf = (eni: number) => eni + 1;

/**
 * Returns what the VPC CNI sets up on a node. See pkg/networkutils/network.go and iptables_connmark.go in
 * aws/amazon-vpc-cni-k8s, and cmd/routed-eni-cni-plugin/driver/driver.go for pods.
 */
export function vpcCni({ settings, enis, pods }: VpcCniNode): NodeNetwork {
  const mainEniRule = 'ip rule add pref 1024 fwmark 0x80/0x80 lookup main';
  const secondary = enis.slice(1);
  const setUpEnis = secondary.flatMap((eni, i) => setUpEni(eni, tableOf(i + 1)));
  const externalServices = (settings.externalServiceCidrs ?? []).map(
    (cidr) => `ip rule add pref 1535 to ${cidr} lookup main`,
  );
  const setUp = [
    'sysctl net/ipv4/conf/eth0/rp_filter 2',
    mainEniRule,
    ...(settings.enforcingMode === 'strict'
      ? ['ip rule add pref 20 lookup local', 'ip rule del pref 0']
      : []),
    ...(settings.connmark === 'nftables' ? [nftablesConnmark(settings)] : []),
    ...setUpEnis,
    ...((settings.eniAddressRules ?? true)
      ? secondary.map(({ address }, i) => `ip rule add pref 32765 from ${address} lookup ${tableOf(i + 1)}`)
      : []),
    ...externalServices,
  ];
  const setUpPods = pods.flatMap((pod) => setUpPod(pod, settings));
  // When the agent restarts, it deletes and re-adds these ip rules, addresses and routes. It adds only missing iptables
  // rules, so none are listed here.
  const restart = [
    'ip rule del pref 1024',
    mainEniRule,
    ...secondary.flatMap((eni) => [`ip addr del ${addressOn(eni)}`, `ip addr add ${addressOn(eni)}`]),
    ...setUpEnis,
    'while ip rule del pref 1535 lookup main 2>/dev/null; do :; done',
    ...externalServices,
  ];
  const cni = { setUp, setUpPods, rules: vpcCniRules(settings, enis), restart };
  return join(kubeProxy, cni);
}

const addressOn = ({ address, subnet, device }: Uplink) => `${address}/${subnet.split('/')[1]} dev ${device}`;

function setUpEni({ device, address, subnet }: Uplink, tableNumber: number): string[] {
  const gateway = gatewayOf(subnet);
  return [
    `ip route replace ${gateway} dev ${device} scope link table ${tableNumber}`,
    `ip route replace default via ${gateway} dev ${device} table ${tableNumber}`,
    // The agent removes the route that the kernel added to table main together with the address.
    `ip route del ${subnet} dev ${device} src ${address}`,
  ];
}

function setUpPod(pod: VpcCniPod, { enforcingMode }: VpcCniSettings): string[] {
  const { address, device } = pod;
  const toPod = [
    `ip route add ${address} dev ${device} scope link`,
    `ip rule add pref 512 to ${address} lookup main`,
  ];
  if ('eni' in pod) {
    const fromPod = `ip rule add pref 1536 from ${address} lookup ${tableOf(pod.eni)}`;
    return pod.eni === 0 ? toPod : [...toPod, fromPod];
  }
  const { branch, vlan } = pod;
  const gateway = gatewayOf(branch.subnet);
  const branchTable = vlan + 100;
  const setUpBranch = [
    `ip route add ${gateway} dev ${branch.device} scope link table ${branchTable}`,
    `ip route add default via ${gateway} dev ${branch.device} table ${branchTable}`,
  ];
  if (enforcingMode === 'strict') {
    return [
      ...setUpBranch,
      `ip route add ${address} dev ${device} scope link table ${branchTable}`,
      `ip rule add pref 10 iif ${branch.device} lookup ${branchTable}`,
      `ip rule add pref 10 iif ${device} lookup ${branchTable}`,
    ];
  }
  return [...setUpBranch, ...toPod, `ip rule add pref 1536 from ${address} lookup ${branchTable}`];
}

const restoreMark = '-j CONNMARK --restore-mark --nfmask 0x80 --ctmask 0x80';
const primaryEni = '-m comment --comment "AWS, primary ENI"';

function vpcCniRules(settings: VpcCniSettings, [primary]: readonly Uplink[]): string {
  const { vpcRanges, excludeSnatCidrs = [], randomizeSnat = 'prng' } = settings;
  const mangle = table(
    'mangle',
    `-A PREROUTING -i eth0 ${primaryEni} -m addrtype --dst-type LOCAL --limit-iface-in -j CONNMARK --set-xmark 0x80/0x80`,
    `-A PREROUTING -i eni+ ${primaryEni} ${restoreMark}`,
    `-A PREROUTING -i vlan+ ${primaryEni} ${restoreMark}`,
  );
  // With external SNAT, AWS-SNAT-CHAIN-0 exists but is empty.
  if (settings.externalSnat) return mangle + table('nat', ':AWS-SNAT-CHAIN-0 - [0:0]');
  // Each range is inserted at the top of the chain.
  const returns = (chain: string, comment: string, cidrs: readonly string[]) =>
    cidrs.toReversed().map((cidr) => `-A ${chain} -d ${cidr} -m comment --comment "${comment}" -j RETURN`);
  const connmark = table(
    'nat',
    ':AWS-CONNMARK-CHAIN-0 - [0:0]',
    '-A PREROUTING -i eni+ -m comment --comment "AWS, outbound connections" -j AWS-CONNMARK-CHAIN-0',
    `-A PREROUTING -m comment --comment "AWS, CONNMARK" ${restoreMark}`,
    ...returns('AWS-CONNMARK-CHAIN-0', 'AWS CONNMARK CHAIN', [...vpcRanges, ...excludeSnatCidrs]),
    '-A AWS-CONNMARK-CHAIN-0 -m comment --comment "AWS, CONNMARK" -j CONNMARK --set-xmark 0x80/0x80',
  );
  const snat = table(
    'nat',
    ':AWS-SNAT-CHAIN-0 - [0:0]',
    '-A POSTROUTING -m comment --comment "AWS SNAT CHAIN" -j AWS-SNAT-CHAIN-0',
    ...returns('AWS-SNAT-CHAIN-0', 'AWS SNAT CHAIN EXCLUSION', excludeSnatCidrs),
    ...returns('AWS-SNAT-CHAIN-0', 'AWS SNAT CHAIN', vpcRanges),
    '-A AWS-SNAT-CHAIN-0 ! -o vlan+ -m comment --comment "AWS, SNAT" -m addrtype ! --dst-type LOCAL' +
      ` -j SNAT --to-source ${primary?.address}${snatFlags[randomizeSnat]}`,
  );
  return mangle + (settings.connmark === 'nftables' ? '' : connmark) + snat;
}

/** Returns the nft rules that some versions write if iptables is the nft variant (nftables_connmark.go). */
const nftablesConnmark = ({ vpcRanges, excludeSnatCidrs = [] }: VpcCniSettings) => `nft -f - <<'RULES'
table ip aws-cni {
  chain snat-mark {
    ${[...vpcRanges, ...excludeSnatCidrs].map((cidr) => `counter ip daddr ${cidr} return`).join('\n    ')}
    counter ct mark set ct mark | 0x80
  }
  chain nat-prerouting {
    type nat hook prerouting priority -90; policy accept;
    fib daddr type local return
    iifname "eni*" counter jump snat-mark
    counter meta mark set ct mark & 0x80
  }
}
RULES`;
