"""Programs that `codeup bench` starts, each with the Python of the tool it runs: FILE ORDER.json."""
