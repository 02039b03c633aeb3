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
my $done = do '/scratch/main.pl';
if (my $error = $@) { print STDERR "error: $error"; POSIX::_exit($error =~ /syntax error|Can't find|Missing right/ ? 98 : 97) }
BEGIN { require POSIX }
