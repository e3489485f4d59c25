#!/usr/bin/perl
#
# Writes the first inputs of elf.c and netlink.c, which are binary,
# below t/fuzz/corpus.  (Little-endian, 64 bits.)

use strict;
use warnings;
use File::Basename qw(dirname);

chdir dirname($0) or die;

# ---- elf: program headers, dynamic section, tables, slots --------------------

my ($dynamic, $symbols, $strings, $relocs, $slots, $size) =
    (448, 640, 712, 728, 824, 880);
# relocations of the PLT, and others, with an addend and (other CPUs) without
my %type = (jump_slot => 7, glob_dat => 6, rel => 6);

for my $kind (sort keys %type) {
    my $string = "\0other\0answer\0";
    my $image = join '',
        header(1, 6, 0, $size),                      # PT_LOAD, rw
        header(2, 6, $dynamic, $symbols - $dynamic), # PT_DYNAMIC
        header(0x6474e552, 4, 0, 4096);              # PT_GNU_RELRO
    $image .= "\0" x ($dynamic - length $image);
    my @entries = ([6, $symbols], [5, $strings], [10, length $string]);
    push @entries, $kind eq 'jump_slot' ? ([23, $relocs], [2, 96], [20, 7])
        : $kind eq 'rel' ? ([17, $relocs], [18, 64], [19, 16])
        : ([7, $relocs], [8, 96], [9, 24]);
    $image .= pack 'Q<Q<', @$_ for @entries, [0, 0];
    $image .= "\0" x ($symbols - length $image);
    $image .= pack 'L<CCS<Q<Q<', @$_ for [0, 0, 0, 0, 0, 0], [1, 0x12, 0, 0, 0, 0],
        [7, 0x12, 0, 0, 0, 0];
    $image .= $string . "\0" x ($relocs - $strings - length $string);
    $image .= pack 'Q<Q<' . ($kind eq 'rel' ? '' : 'q<'), $slots + 8 * $_,
        (1 + $_ % 2) << 32 | $type{$kind}, 0 for 0 .. 3;
    $image .= "\0" x ($size - length $image);
    spew("elf/$kind", $image);
}

sub header { my ($type, $flags, $at, $length) = @_;
    return pack 'L<L<Q<Q<Q<Q<Q<Q<', $type, $flags, $at, $at, $at, $length, $length, 8 }

# ---- netlink: the request, then datagrams ------------------------------------

# types of netlink: 2 an error or an acknowledgement, 3 the end of a dump
my $ack = message(2, 0, pack 'l<L<S<S<L<L<', 0, 16, 0, 0, 0, 0);
my $end = message(3, 2, pack 'l<', 0);
my $limits = message(42, 0, "\6\1\0\0" . attr(2, pack 'L<', 2) . attr(3, pack 'L<', 2));
my $v4 = endpoint(2, attr(3, "\x0a\x5b\1\2") . attr(5, pack 'S<', 80));
my $v6 = endpoint(10, attr(4, "\xfd\x91" . "\0" x 13 . "\1"));

spew('netlink/limits', "\0" . datagram($limits) . datagram($ack));
spew('netlink/endpoints', "\1" . datagram($v4, $v6) . datagram($end));
spew('netlink/short-attribute', "\0" . datagram(
    message(42, 0, "\6\1\0\0" . attr(2, pack 'L<', 2) . "\5\0\3\0\1")) . datagram($ack));
spew('netlink/refused', "\3" . datagram(
    message(2, 0, pack 'l<L<S<S<L<L<', -1, 16, 0, 0, 0, 0)));
spew('netlink/silence', "\2");
spew('netlink/empty', "\0" . "\0\0" x 3);

# sock_diag: a connection of either family, then TCP sockets, which may be
# subflows: struct inet_diag_msg, INET_DIAG_INFO (2), INET_DIAG_ULP_INFO (19)
mkdir 'diag';
my $info = "\2" . "\0" x 7 . pack('L<L<', 0, 0xabcdef) . "\0" x 80;
my $ulp = attr(0x8000 | 19, attr(1, "mptcp\0") . attr(0x8003,
    attr(2, pack 'L<', 0xabcdef) . attr(8, pack 'L<', 1 << 2 | 1 << 4)));
my $done = datagram($end);
spew('diag/connections', join '', datagram(diag(2, attr(2, $info))), $done,
    datagram(diag(10, attr(2, $info))), $done,
    datagram(diag(2, attr(2, "\1" x 200) . $ulp), diag(2, '')), $done,
    datagram(diag(10, attr(2, "\1" x 20) . $ulp)), $done);
spew('diag/short-token', join '', $done, $done, datagram(diag(2, attr(0x8000 | 19,
    attr(0x8003, attr(2, ''))))), $done, $done);
spew('diag/no-state', join '', datagram(diag(2, attr(2, $info)) =~ s/^(.{17})./$1\0/sr), $done);
spew('diag/silence', '');

sub diag { my ($family, $attributes) = @_;
    return message(20, 2, pack('CCCC', $family, 1, 0, 0)
        . pack('nn', 80, 40000) . "\x0a\x5b\1\2" . "\0" x 12 . "\x0a\x5b\1\1" . "\0" x 12
        . "\0" x 12 . "\0" x 20 . $attributes) }
sub endpoint { my ($family, $rest) = @_;
    return message(42, 2, "\3\1\0\0" . attr(0x8001, attr(1, pack 'S<', $family)
        . attr(2, "\1") . $rest . attr(6, pack 'L<', 1) . attr(7, pack 'l<', 2))) }
sub attr { my ($type, $value) = @_;
    return pack('S<S<', 4 + length $value, $type) . $value . "\0" x (-length($value) % 4) }
sub message { my ($type, $flags, $payload) = @_;
    return pack('L<S<S<L<L<', 16 + length $payload, $type, $flags, 0, 0) . $payload }
sub datagram { my $bytes = join '', @_; return pack('S<', length $bytes) . $bytes }

sub spew {
    my ($name, $bytes) = @_;
    open my $file, '>:raw', $name or die "$name: $!\n";
    print {$file} $bytes;
    close $file or die "$name: $!\n";
    return;
}
