"""`python -m codeup` is the `codeup` command."""

from codeup.cli.app import main

if __name__ == "__main__":
    main()
