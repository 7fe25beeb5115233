"""How fastloss is timed: beside its peers and the limits of the memory, in one process.

`python -m fastloss bench` and the suite in the repository's `bench/` are made of this.
`import fastloss` does not import it.
"""
