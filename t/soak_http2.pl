# A client of HTTP/2 that tries again, for t/soak.t.
#
#   perl t/soak_http2.pl SECONDS URL [COMMAND ...]
#
# Connects to URL again and again, by nghttp (behind COMMAND), with some requests
# each time. A request that the server names as not taken, in a GOAWAY whose last
# stream is an earlier one (RFC 9113, 6.8), is asked again on another connection,
# as browsers do. So are those of a connection that the server has closed without
# any answer; they are counted. Every other one without an answer of status 200 has
# failed, and what nghttp saw is printed. Ends with a line like h2load's, how many
# times a request was asked again, and for how many of these there was no GOAWAY.

use strict;
use warnings;

use Time::HiRes qw(time);

my $AT_A_TIME = 3;
my $TRIES     = 20;                      # of one request

my ($seconds, $url, @by) = @ARGV;
my ($requests, $failed, $again, $closed) = (0, 0, 0, 0);
for (my $end = time + $seconds; time < $end;) {
    $requests += $AT_A_TIME;
    my $open = $AT_A_TIME;
    for (my $try = 1; $open; $try++) {
        my ($answered, $not_taken, $unanswered, $saw) = ask($open);
        my $lost = $open - $answered - ($try < $TRIES ? $not_taken + $unanswered : 0);
        print $saw if $lost;
        $failed += $lost;
        $open -= $answered + $lost;
        $again += $open;
        $closed += $unanswered;
    }
}
print "requests: $requests total, done, $failed failed, 0 timeout\n";
print "asked again: $again\nclosed unanswered: $closed\n";

# (how many of so many requests were answered, how many not taken, how many without
# either on a connection that was made and closed, all that nghttp printed)
sub ask {
    my ($count) = @_;
    open my $in, '-|', @by, qw(nghttp -nvy --no-dep -t 10 -m), $count, $url
        or die "nghttp: $!\n";
    my $saw = do { local $/; <$in> } // '';
    close $in;
    my ($last) = $saw =~ /recv GOAWAY frame .*\n\s+\(last_stream_id=(\d+)/;
    my ($answered, $not_taken) = (0, 0);
    for my $stream (map { 2 * $_ - 1 } 1 .. $count) {
        my $ended = grep { hex($_) & 1 }
            $saw =~ /recv (?:DATA|HEADERS) frame <length=\d+, flags=(\w+), stream_id=$stream>/g;
        if ($ended && $saw =~ /\(stream_id=$stream\) :status: 200/) {
            $answered++;
        }
        elsif (defined $last && $last < $stream) {
            $not_taken++;
        }
    }
    my $unanswered = $saw =~ /Connected/ && !$answered && !defined $last ? $count : 0;
    return ($answered, $not_taken, $unanswered, $saw);
}
