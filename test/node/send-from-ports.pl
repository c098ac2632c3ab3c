#!/usr/bin/env perl
# Sends a UDP datagram to ADDRESS PORT from each of COUNT source ports, so that each is a connection to the kernel.
use strict;
use Socket;

my ($address, $port, $count) = @ARGV;
my $peer = pack_sockaddr_in $port, inet_aton $address;
for my $source (10_000 .. 9_999 + $count) {
  socket my $socket, PF_INET, SOCK_DGRAM, 0 or die "socket: $!\n";
  bind $socket, pack_sockaddr_in $source, INADDR_ANY or die "bind: $!\n";
  send $socket, 'x', 0, $peer or die "send: $!\n";
}
