"""python -m rgnn_cli is rgnn."""

from rgnn_cli.app import main

if __name__ == "__main__":
    main()
