"""Where jobs live: one small contract, one file for each backend."""
