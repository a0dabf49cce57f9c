"""``python -m nebula_tune.cli`` is ``nebula-tune``."""

from nebula_tune.cli.app import main

if __name__ == "__main__":
    main()
