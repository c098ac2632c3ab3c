#!/usr/bin/env perl
# Sends UDP datagrams from the addresses that a test names. Each datagram has its own socket, so that the kernel treats
# each as a separate connection.
#   perl send-datagrams.pl PORT < lines of `SOURCE DESTINATION TEXT`   sends one datagram for each line
#   perl send-datagrams.pl PORT DESTINATION                            sends until it is killed, from any address
use strict;
use warnings;
use Socket;

my ($port, $destination) = @ARGV;
$| = 1;

sub send_datagram {
  my ($from, $to, $text) = @_;
  socket my $socket, PF_INET, SOCK_DGRAM, 0 or die "socket: $!\n";
  bind $socket, pack_sockaddr_in 0, inet_aton $from or die "bind: $!\n";
  send $socket, $text, 0, pack_sockaddr_in $port, inet_aton $to or die "send: $!\n";
}

if (defined $destination) {
  for (my $count = 0; ; $count++) {
    send_datagram('0.0.0.0', $destination, $count);
    # Gives CPU time to the program that is writing the rules.
    select undef, undef, undef, 0.005;
    print "sending\n" if $count == 0;
  }
}
while (my $line = <STDIN>) {
  send_datagram(split ' ', $line);
}
