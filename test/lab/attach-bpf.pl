#!/usr/bin/env perl
# Loads a BPF program that lets every packet pass, and attaches it: needs no compiler, library or bpftool.
#   tc DEVICE ingress|egress NAME    a direct-action filter of tc, which stays
#   tcx DEVICE ingress|egress        a tcx link, which lasts as long as this process
#   xdp DEVICE                       an XDP link, the same
#   pin PATH                         a program of tc, pinned
#   open                             a program of tc that this process has open, and that is on no device
#   trace                            a program that sees no packets of devices (a socket filter), the same
# The program has no name, so that labs that share this kernel do not see it among the kernel's symbols. Structures:
# union bpf_attr in linux/bpf.h, tcmsg and TCA_BPF_* in linux/rtnetlink.h and linux/pkt_cls.h.
use strict;
use Socket;

my ($kind, $device, $hook, $name) = @ARGV;
my $number = `uname -m` =~ /aarch64/ ? 280 : 321;
my $pointer = sub { unpack 'Q', pack 'P', $_[0] };
my $bpf = sub {
  my ($command, $attributes) = @_;
  my $result = syscall $number, $command, $attributes, length $attributes;
  die "bpf($command): $!\n" if $result < 0;
  return $result;
};

# r0 = TC_ACT_UNSPEC, which is also TCX_NEXT, or XDP_PASS; exit.
my $code = pack('CCsl', 0xb7, 0, 0, $kind eq 'xdp' ? 2 : -1) . pack('CCsl', 0x95, 0, 0, 0);
my $license = "GPL\0";
my ($type, $hooks) = $kind eq 'xdp' ? (6, 37) : (3, { ingress => 46, egress => 47 }->{ $hook // '' } // 0);
$type = 1 if $kind eq 'trace';
my $load = pack 'LLQQ LLQLL a16 LL', $type, 2, $pointer->($code), $pointer->($license), 0, 0, 0, 0, 0, '', 0,
  $kind =~ /^(tc|pin|open|trace)$/ ? 0 : $hooks;
my $program = $bpf->(5, $load);

if ($kind eq 'pin') {
  my $path = "$device\0";
  $bpf->(6, pack 'QLL', $pointer->($path), $program, 0);
  exit;
}
my $wait = sub {
  $| = 1;
  print "attached\n";
  sleep;
};
$wait->() if $kind eq 'open' || $kind eq 'trace';
my ($index) = `ip -o link show dev $device` =~ /^(\d+):/ or die "no device $device\n";
if ($kind ne 'tc') {
  my $link = $bpf->(28, pack 'LLLL Q4', $program, $index, $hooks, 0, 0, 0, 0, 0);
  $wait->();
}

system("tc qdisc add dev $device clsact 2>/dev/null");
my $attribute = sub { my ($id, $value) = @_; pack 'SSa*x![4]', 4 + length $value, $id, $value };
my $options = join '', $attribute->(6, pack 'L', $program), $attribute->(7, "$name\0"), $attribute->(8, pack 'L', 1);
my $parent = $hook eq 'ingress' ? 0xfffffff2 : 0xfffffff3;
# Priority 1, all protocols.
my $body = pack('Cx3 lLLL', 0, $index, 0, $parent, 1 << 16 | 0x0300) . $attribute->(1, "bpf\0") . $attribute->(2, $options);
# RTM_NEWTFILTER with NLM_F_REQUEST, _ACK, _EXCL and _CREATE.
my $message = pack('LSSLL', 16 + length $body, 44, 0x605, 1, 0) . $body;
socket my $netlink, 16, SOCK_RAW, 0 or die "netlink: $!\n";
send $netlink, $message, 0, pack 'SSLL', 16, 0, 0, 0 or die "netlink: $!\n";
recv $netlink, my $reply, 4096, 0;
my $error = unpack 'l', substr $reply, 16, 4;
die "netlink: error $error\n" if $error;
