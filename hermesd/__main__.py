"""`hermesd` and `python -m hermesd`."""

from hermesd.cli.app import main

if __name__ == "__main__":
    main()
