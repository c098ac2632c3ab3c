# Answers each TCP connection over IPv4 with the source address it sees, as HTTP. Like echo-server.mjs, which takes ten
# times as long to start. `perl test/lab/echo-server.pl PORT`
use strict;
use warnings;
use Socket;

my $port = shift;
$SIG{CHLD} = 'IGNORE';
$| = 1;
socket(my $server, PF_INET, SOCK_STREAM, 0) or die "socket: $!";
setsockopt($server, SOL_SOCKET, SO_REUSEADDR, 1);
bind($server, sockaddr_in($port, INADDR_ANY)) or die "bind: $!";
listen($server, 128) or die "listen: $!";
print "listening on $port\n";
while (my $source = accept(my $client, $server)) {
    next if fork;
    sysread($client, my $request, 4096) or exit;
    my (undef, $address) = sockaddr_in($source);
    syswrite($client, "HTTP/1.0 200 OK\r\n\r\n" . inet_ntoa($address) . "\n");
    exit;
}
