# The service that runs on a peer. It reports the source address of each request: an HTTP response contains the
# address, and a UDP datagram is printed as `udp ADDRESS TEXT`. It is in Perl, which starts ten times as fast as Node.
# Usage: perl test/lab/echo-server.pl PORT
use strict;
use warnings;
use Socket qw(:DEFAULT inet_ntop IN6ADDR_ANY);

my $port = shift;
$SIG{CHLD} = 'IGNORE';
$| = 1;

# Opens a socket that also accepts IPv4 clients, whose addresses then look like ::ffff:10.0.0.1.
sub open_socket {
    my ($type) = @_;
    socket(my $socket, PF_INET6, $type, 0) or die "socket: $!";
    setsockopt($socket, SOL_SOCKET, SO_REUSEADDR, 1);
    bind($socket, pack_sockaddr_in6($port, IN6ADDR_ANY)) or die "bind: $!";
    return $socket;
}

sub address_of {
    my (undef, $address) = unpack_sockaddr_in6($_[0]);
    return inet_ntop(AF_INET6, $address) =~ s/^::ffff://r;
}

sub answer {
    my ($client, $address) = @_;
    sysread($client, my $request, 4096) or return;
    syswrite($client, "HTTP/1.0 200 OK\r\n\r\n$address\n");
}

my $datagrams = open_socket(SOCK_DGRAM);
my $server = open_socket(SOCK_STREAM);
listen($server, 128) or die "listen: $!";
print "listening on $port\n";
while (1) {
    my $readable = '';
    vec($readable, fileno($_), 1) = 1 for $datagrams, $server;
    next if select($readable, undef, undef, undef) <= 0;
    if (vec($readable, fileno($datagrams), 1)) {
        my $source = recv($datagrams, my $text, 4096, 0);
        print 'udp ', address_of($source), " $text\n" if defined $source;
    }
    if (vec($readable, fileno($server), 1)) {
        my $source = accept(my $client, $server) or next;
        next if fork;
        answer($client, address_of($source));
        exit;
    }
}
