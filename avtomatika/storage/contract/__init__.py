"""The parts of the storage's contract, one subject each; ``storage/base.py`` puts them together."""
