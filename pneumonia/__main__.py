"""`python -m pneumonia` is the `pneumonia` command."""

from pneumonia.cli import main

if __name__ == "__main__":
    main()
