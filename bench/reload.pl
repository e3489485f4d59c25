#!/usr/bin/perl

# Reload: connections that fail while a server takes another configuration, at
# as many new connections a second as this machine gives.
#
#   reload.csv   a row for each server and what its reloads changed: plain
#                reloads, or the protocol of the listener, to MPTCP and back
#
# wrk, 32 connections, none kept alive.  Whether the protocol has changed is
# asked of the kernel, after each reload: one that changed nothing loses
# nothing.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib", "$FindBin::Bin/../t/lib";
use File::Temp ();
use Time::HiRes qw(sleep);
use Bench;
use Bench::Origin;
use Bench::Server;
use MPTCP::Client;

my $bench   = Bench->begin('reload');
my $short   = Bench::short();
my $reloads = $short ? 2 : 12;
my $rounds  = $short ? 1 : 2;

my $lab = MPTCP::Lab->new(Bench::congestion())->add_host('host');
# One address, one port: each connection takes a new source port.
$lab->sysctl('host', 'net.ipv4.ip_local_port_range', '1024 65535');
$lab->sysctl('host', 'net.ipv4.tcp_tw_reuse', 1);
# The load is not to be refused for a full queue, which is nobody's fault.
$lab->sysctl('host', 'net.core.somaxconn', 4096);

my ($file) = Bench::random_file(100);
# HAProxy serves no files: a fast server behind it.
my $origin = Bench::Server->start(defined Bench::Server::version('nginx') ? 'nginx' : 'httpd',
    lab => $lab, ns => 'host', port => 8080, mptcp => 0, files => $file =~ s{/[^/]*$}{}r);

my @rows;
for my $round (1 .. $rounds) {
    for my $kind (grep { $_ ne 'mptcpize' } $bench->kinds) {
        for my $change ('none', 'protocol') {
            next if $change eq 'protocol' && $kind eq 'httpd';
            next if $short && $kind !~ /^(?:mod_mptcp|nginx)$/;
            measure($round, $kind, $change);
        }
    }
}
$bench->write('reload',
    [qw(server change round reloads changed requests rate connect read write timeout status)], @rows);
$bench->end(reloads => $reloads, rounds => $rounds);
exit 0;

sub measure {
    my ($round, $kind, $change) = @_;
    my $httpd = $kind =~ /^(?:httpd|mod_mptcp|trunk)$/;
    my $server = Bench::Server->start($kind, lab => $lab, ns => 'host', port => 80, mptcp => 0,
        files => $file =~ s{/[^/]*$}{}r, $kind eq 'haproxy' ? (sink => '127.0.0.1:8080') : (),
        conf => $httpd ? "ListenBacklog 4096\nEnableMMAP Off" : '');
    my $report = File::Temp->new;
    my $load = $lab->spawn('host', { out => "$report", err => "$report" },
        qw(wrk -t1 -c32 -d300), '-H', 'Connection: close', 'http://127.0.0.1:80/file');
    sleep 0.5;
    my ($mptcp, $changed) = (0, 0);
    for (1 .. $reloads) {
        $mptcp = 1 - $mptcp if $change eq 'protocol';
        $server->reload(mptcp => $mptcp);
        sleep 0.3;
        $changed++ if $change eq 'protocol' && is_mptcp() == $mptcp;
    }
    sleep 0.3;
    $lab->reap($load, 'INT');
    $server->stop;
    my $said = do { local $/; open my $in, '<', "$report" or die "$report: $!\n"; <$in> };
    my ($requests, $rate) = ($said =~ /(\d+) requests in/, $said =~ m{Requests/sec:\s*([\d.]+)});
    defined $rate or die "bench: wrk: $said";
    my %row = (server => $kind, change => $change, round => $round, reloads => $reloads,
        changed => $changed, requests => $requests, rate => $rate,
        connect => 0, read => 0, write => 0, timeout => 0, status => 0);
    @row{qw(connect read write timeout)} = ($1, $2, $3, $4)
        if $said =~ /Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)/;
    $row{status} = $1 if $said =~ /Non-2xx or 3xx responses: (\d+)/;
    push @rows, \%row;
    my $errors = $row{connect} + $row{read} + $row{write} + $row{timeout} + $row{status};
    $bench->say(sprintf '%d %-9s change %-8s (%d of %d seen): %d errors in %d requests, %.0f/s',
        $round, $kind, $change, $changed, $reloads, $errors, $requests, $rate);
    return;
}

sub is_mptcp {
    my $r = MPTCP::Client::get(lab => $lab, ns => 'host', host => '127.0.0.1', port => 80,
        path => '/file', mptcp => 1);
    return $r->{is_mptcp};
}
