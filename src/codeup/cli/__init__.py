"""The command line: argv to one library call, output and exit codes."""
