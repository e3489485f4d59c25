package MPTCP::Faults;

# Servers for which what mod_mptcp asks of the kernel fails, one thing at a
# time, as t/fault/fault.c does it; in the namespace of one host.
#
#   my $faults = MPTCP::Faults->new(load => [qw(proxy proxy_http)]);
#   my $httpd = $faults->server("MPTCPListen 80\n");
#   $faults->set('socket ' . ENOMEM);
#   $httpd->start or die;
#
# Faults take effect at once, in a server that runs too. There is one server at
# a time, and every new one begins without faults.

use strict;
use warnings;
use File::Temp ();
use MPTCP::Client;
use MPTCP::Httpd;
use MPTCP::Lab;
use Test::More ();

# load: modules that each server has.
sub new {
    my ($class, %o) = @_;
    my $self = bless { load => $o{load} // [], lab => MPTCP::Lab->new->add_host('host'),
        dir => File::Temp->newdir(TMPDIR => 1) }, $class;
    chmod 0755, "$self->{dir}";
    $self->{library} = $self->build('fault');
    $self->set('');
    return $self;
}

sub lab { return $_[0]{lab} }

# The name of a shared object, built of one of the sources in t/fault.
sub build {
    my ($self, $name, @flags) = @_;
    return MPTCP::Httpd::build_library($name, $self->{dir}, @flags);
}

# The environment that makes faults of what is run with it.
sub environment {
    my ($self) = @_;
    return (LD_PRELOAD => $self->{library}, FAULTS => "$self->{dir}/faults");
}

# What fails from now on: lines for fault.c, '' for nothing.
sub set {
    my ($self, @lines) = @_;
    my $name = "$self->{dir}/faults";
    open my $file, '>', "$name.new" or die "$name: $!";
    print {$file} "$_\n" for @lines;
    close $file or die "$name: $!";
    rename "$name.new", $name or die "$name: $!";
    return;
}

# A server, not started; the one before is ended. Options as for MPTCP::Httpd.
sub server {
    my ($self, $conf, %o) = @_;
    $self->set('');
    $self->stop;
    my %environment = $self->environment;
    return $self->{httpd} = MPTCP::Httpd->new(lab => $self->{lab}, ns => 'host',
        load => $self->{load}, conf => $conf, %o,
        before => [@{ $o{before} // [] }, 'env', map {"$_=$environment{$_}"} keys %environment]);
}

sub stop {
    my ($self) = @_;
    my $httpd = delete $self->{httpd} or return;
    return $httpd->stop;
}

# A test: a server starts in spite of this fault. Returns the server.
sub starts {
    my ($self, $fault, $conf) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $httpd = $self->server($conf);
    $self->set($fault);
    Test::More::ok($httpd->start, name_of($fault) . ': it starts')
        or Test::More::diag($httpd->error_log);
    return $httpd;
}

# Tests: the server's log has what is expected.
sub says {
    my ($self, $name, @patterns) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $log = $self->{httpd}->error_log;
    Test::More::like($log, $_, "$name: says so") for @patterns;
    return;
}

# A fault in words: the errno's.
sub name_of {
    my ($fault) = @_;
    return $fault =~ s/^(\S+) (\d+)/local $! = $2; "$1 '$!'"/er;
}

# A request from the host itself, as MPTCP::Client makes it.
sub get {
    my ($self, $host, $port, %o) = @_;
    $self->{httpd}->write_file('file', "content\n");
    return MPTCP::Client::get(lab => $self->{lab}, ns => 'host', host => $host, port => $port,
        path => '/file', %o);
}

sub status { my ($self, $port) = @_; return $self->get('127.0.0.1', $port)->{status} }

1;
