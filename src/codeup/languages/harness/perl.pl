# Reads the secret, runs the program with its tests, prints the secret if their last line is reached (languages/perl.py).
{
    my $secret = do { local $/; <STDIN> };
    $secret =~ s/\s+\z//;
    open(my $out, '>&', \*STDOUT) or die;
    no strict 'refs';
    *{'main::CODEUP_NAME'} = sub {
        my (undef, $file, $line) = caller;
        return unless $file eq '/scratch/main.pl' && $line == '@LINE@';
        select((select($out), $| = 1)[0]);
        print {$out} "\n$secret 1\n";
    };
}
# Equal as texts, item by item, in lists and hashes of the same kind: Test::Deep's and Data::Compare's rule.
{
    no strict 'refs';
    my $same;
    $same = sub {
        my ($x, $y) = @_;
        return !defined $x && !defined $y unless defined $x && defined $y;
        my $kind = ref $x;
        return 0 if $kind ne ref $y;
        return $x eq $y if $kind eq '' || $x eq $y;
        if (UNIVERSAL::isa($x, 'ARRAY')) {
            return 0 if @$x != @$y;
            for my $place (0 .. $#$x) { return 0 unless $same->($x->[$place], $y->[$place]) }
            return 1;
        }
        if (UNIVERSAL::isa($x, 'HASH')) {
            return 0 if keys %$x != keys %$y;
            for my $key (keys %$x) { return 0 unless exists $y->{$key} && $same->($x->{$key}, $y->{$key}) }
            return 1;
        }
        return $kind eq 'REF' || $kind eq 'SCALAR' ? $same->($$x, $$y) : 0;
    };
    *{'main::CODEUP_NAME_same'} = sub { $same->($_[0], $_[1]) ? 1 : 0 };
}
my $done = do '/scratch/main.pl';
if (my $error = $@) { print STDERR "error: $error"; POSIX::_exit($error =~ /syntax error|Can't find|Missing right/ ? 98 : 97) }
BEGIN { require POSIX }
