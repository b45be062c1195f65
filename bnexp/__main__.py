"""`python -m bnexp`."""

from bnexp.cli.main import main

if __name__ == "__main__":
    main()
