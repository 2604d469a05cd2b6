"""``python -m sclaws`` is ``sclaws``, wherever the checkout or the environment has been moved to."""

from sclaws.cli import main

if __name__ == "__main__":
    main()
